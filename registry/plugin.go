package registry

import (
	"encoding/json"
	"reflect"
	"slices"
)

// Plugin is the metadata of one registered plugin, as it was when the registry was asked. It is a copy that the caller may keep and
// modify, but for the bytes of Schema, which are shared and must not be modified.
type Plugin struct {
	Category    string `json:"category"`
	Name        string `json:"name"`
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	Version     string `json:"version,omitempty"`

	// Schema is the JSON Schema of the config as the manager gave it, or nil if it gave none or no JSON object.
	Schema json.RawMessage `json:"schema,omitempty"`
	// SchemaErr says why Schema cannot be used to validate, or which part of it is not enforced. It is nil if all is well.
	// Problems that only compilation finds appear after the first SaveConfig, Validate or EffectiveConfig; CheckSchemas finds all.
	SchemaErr error `json:"-"`

	Configured    bool          `json:"configured"`         // a config is stored
	Disabled      bool          `json:"disabled,omitempty"` // its note says so, see SetNote
	ExecutionMode ExecutionMode `json:"execution_mode"`
	Resources
}

// ID is the plugin ID, category and name with an underscore between, by which its config is stored.
func (p Plugin) ID() string { return p.Category + "_" + p.Name }

// Resources are what a plugin runs on and holds.
type Resources struct {
	ManagesChildProcesses    bool            `json:"manages_child_processes,omitempty"`    // it starts processes
	ManagesExternalResources bool            `json:"manages_external_resources,omitempty"` // it manages containers, servers, …
	ChildPIDs                []int           `json:"child_pids,omitempty"`
	ContainerID              string          `json:"container_id,omitempty"`
	CondaEnv                 string          `json:"conda_env,omitempty"`
	Remote                   *RemoteResource `json:"remote,omitempty"`
}

// HasActiveResources tells whether there are child processes, a container, or a remote resource that is running.
func (r Resources) HasActiveResources() bool {
	return len(r.ChildPIDs) > 0 || r.ContainerID != "" || r.Remote != nil && r.Remote.Status == StatusRunning
}

// shared tells whether r has parts that a copy of the struct shares.
func (r *Resources) shared() bool { return r.ChildPIDs != nil || r.Remote != nil }

// clone returns r with parts of its own.
func (r Resources) clone() Resources {
	r.ChildPIDs = slices.Clone(r.ChildPIDs)
	if r.Remote != nil {
		remote := *r.Remote
		remote.Metadata, _ = cloneValue(reflect.ValueOf(remote.Metadata)).Interface().(map[string]any)
		r.Remote = &remote
	}
	return r
}

// maxMetadata is how many levels metadata may have. What holds itself has no end of them.
const maxMetadata = 100

// tooDeep tells whether maps, slices and arrays in v are nested over that many levels.
func tooDeep(v reflect.Value, levels int) bool {
	switch v.Kind() {
	case reflect.Interface:
		return tooDeep(v.Elem(), levels)
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if levels == 0 || tooDeep(it.Value(), levels-1) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if levels == 0 || tooDeep(v.Index(i), levels-1) {
				return true
			}
		}
	}
	return false
}

// cloneValue returns v with maps, slices and arrays of its own.
func cloneValue(v reflect.Value) reflect.Value {
	switch {
	case v.Kind() == reflect.Interface && !v.IsNil():
		return cloneValue(v.Elem())
	case v.Kind() == reflect.Map && !v.IsNil():
		clone := reflect.MakeMapWithSize(v.Type(), v.Len())
		for it := v.MapRange(); it.Next(); {
			clone.SetMapIndex(it.Key(), cloneValue(it.Value()))
		}
		return clone
	case v.Kind() == reflect.Array:
		clone := reflect.New(v.Type()).Elem()
		for i := range v.Len() {
			clone.Index(i).Set(cloneValue(v.Index(i)))
		}
		return clone
	case v.Kind() == reflect.Slice && !v.IsNil():
		clone := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			clone.Index(i).Set(cloneValue(v.Index(i)))
		}
		return clone
	}
	return v
}

// ExecutionMode is where a plugin runs.
type ExecutionMode string

// The execution modes, with the strings of the Python original.
const (
	ModeInProcess       ExecutionMode = "in_process"
	ModeSubprocess      ExecutionMode = "subprocess"
	ModeDocker          ExecutionMode = "docker"
	ModeCondaEnv        ExecutionMode = "conda_env"
	ModeExternal        ExecutionMode = "external" // a service that runs on its own, on this machine
	ModeRemoteSSH       ExecutionMode = "remote_ssh"
	ModeCloudVM         ExecutionMode = "cloud_vm"
	ModeCloudContainer  ExecutionMode = "cloud_container"
	ModeCloudServerless ExecutionMode = "cloud_serverless"
	ModeCloudGPU        ExecutionMode = "cloud_gpu"
	ModeCloudCPU        ExecutionMode = "cloud_cpu"
	ModeKubernetes      ExecutionMode = "kubernetes"
)

// IsLocal tells whether the mode runs on this machine. The zero mode does; an unknown mode is neither local nor cloud.
func (m ExecutionMode) IsLocal() bool {
	switch m {
	case "", ModeInProcess, ModeSubprocess, ModeDocker, ModeCondaEnv, ModeExternal:
		return true
	}
	return false
}

// IsCloud tells whether the mode runs on another machine, by SSH or in a cloud.
func (m ExecutionMode) IsCloud() bool {
	switch m {
	case ModeRemoteSSH, ModeCloudVM, ModeCloudContainer, ModeCloudServerless, ModeCloudGPU, ModeCloudCPU, ModeKubernetes:
		return true
	}
	return false
}

// CloudProvider is who runs a remote resource.
type CloudProvider string

// The cloud providers, with the strings of the Python original.
const (
	ProviderAWS        CloudProvider = "aws"
	ProviderGCP        CloudProvider = "gcp"
	ProviderAzure      CloudProvider = "azure"
	ProviderLambdaLabs CloudProvider = "lambda_labs"
	ProviderRunPod     CloudProvider = "runpod"
	ProviderVastAI     CloudProvider = "vast_ai"
	ProviderPaperspace CloudProvider = "paperspace"
	ProviderTogetherAI CloudProvider = "together_ai"
	ProviderCustom     CloudProvider = "custom"
)

// StatusRunning is the status of a remote resource that works, and costs.
const StatusRunning = "running"

// RemoteResource is a machine, container or job elsewhere that a plugin uses.
type RemoteResource struct {
	Provider    CloudProvider
	Region      string
	InstanceID  string
	JobID       string
	EndpointURL string
	SSHHost     string
	SSHPort     int    // 0 is 22
	Status      string // provisioning, running, stopping, stopped, …; "" is unknown
	Type        string // the provider's name of the kind of machine, as p3.2xlarge
	GPUCount    int
	GPUType     string
	CostPerHour float64        // estimated, in USD; 0 is not known
	Metadata    map[string]any // whatever else the provider says; at most 100 levels of it; maps, slices and arrays in it are copied with the plugin, pointers and structs are not
}

// Plugins is a list of plugins. The methods that select keep the order and return nil if nothing is left.
type Plugins []Plugin

// InMode returns the plugins that run in that mode.
func (ps Plugins) InMode(mode ExecutionMode) Plugins {
	return ps.filter(func(p *Plugin) bool { return p.ExecutionMode == mode })
}

// Local returns the plugins that run on this machine.
func (ps Plugins) Local() Plugins {
	return ps.filter(func(p *Plugin) bool { return p.ExecutionMode.IsLocal() })
}

// Cloud returns the plugins that run on other machines.
func (ps Plugins) Cloud() Plugins {
	return ps.filter(func(p *Plugin) bool { return p.ExecutionMode.IsCloud() })
}

// Configured returns the plugins for which a config is stored.
func (ps Plugins) Configured() Plugins {
	return ps.filter(func(p *Plugin) bool { return p.Configured })
}

// Unconfigured returns the plugins for which no config is stored.
func (ps Plugins) Unconfigured() Plugins {
	return ps.filter(func(p *Plugin) bool { return !p.Configured })
}

func (ps Plugins) filter(keep func(*Plugin) bool) Plugins {
	var kept Plugins
	for i := range ps {
		if keep(&ps[i]) {
			kept = append(kept, ps[i])
		}
	}
	return kept
}

// Stats counts plugins.
type Stats struct {
	Total               int            `json:"total"`
	Configured          int            `json:"configured"`
	Unconfigured        int            `json:"unconfigured"`
	Disabled            int            `json:"disabled"`
	Local               int            `json:"local"`
	Cloud               int            `json:"cloud"`
	WithActiveResources int            `json:"with_active_resources"`
	ByCategory          map[string]int `json:"by_category"`
}

// Stats counts the plugins of the list.
func (ps Plugins) Stats() Stats {
	s := Stats{Total: len(ps), ByCategory: map[string]int{}}
	for i := range ps {
		p := &ps[i]
		s.Configured += one(p.Configured)
		s.Unconfigured += one(!p.Configured)
		s.Disabled += one(p.Disabled)
		s.Local += one(p.ExecutionMode.IsLocal())
		s.Cloud += one(p.ExecutionMode.IsCloud())
		s.WithActiveResources += one(p.HasActiveResources())
		s.ByCategory[p.Category]++
	}
	return s
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}
