package registry

import (
	"encoding/json"
	"reflect"
	"slices"
)

// Plugin is the metadata of one registered plugin: a value, the caller's own, as it was when it was asked for. Only the bytes of
// Schema are shared with the registry, and must not be written to.
type Plugin struct {
	Category    string
	Name        string
	Title       string
	Description string
	Version     string

	// Schema is the JSON Schema of its config as the manager gave it, or nil where there is none that could be one.
	Schema json.RawMessage
	// SchemaErr tells why Schema cannot be used to validate, or which part of it is not enforced; nil where all is well. What
	// can only be told by compiling the schema is here from the first use of it on (SaveConfig, Validate, EffectiveConfig, …).
	SchemaErr error

	Configured    bool // a config is stored
	ExecutionMode ExecutionMode
	Resources
}

// ID is the plugin ID, category and name with an underscore between, by which its config is stored.
func (p Plugin) ID() string { return p.Category + "_" + p.Name }

// Resources are what a plugin runs on and holds.
type Resources struct {
	ManagesChildProcesses    bool // it starts processes of its own
	ManagesExternalResources bool // it manages containers, servers, …
	ChildPIDs                []int
	ContainerID              string
	CondaEnv                 string
	Remote                   *RemoteResource
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
	InProcess       ExecutionMode = "in_process"
	Subprocess      ExecutionMode = "subprocess"
	Docker          ExecutionMode = "docker"
	CondaEnv        ExecutionMode = "conda_env"
	External        ExecutionMode = "external" // a service that runs on its own, on this machine
	RemoteSSH       ExecutionMode = "remote_ssh"
	CloudVM         ExecutionMode = "cloud_vm"
	CloudContainer  ExecutionMode = "cloud_container"
	CloudServerless ExecutionMode = "cloud_serverless"
	CloudGPU        ExecutionMode = "cloud_gpu"
	CloudCPU        ExecutionMode = "cloud_cpu"
	Kubernetes      ExecutionMode = "kubernetes"
)

// IsLocal tells whether the mode runs on this machine. The zero mode does; an unknown mode is neither local nor cloud.
func (m ExecutionMode) IsLocal() bool {
	switch m {
	case "", InProcess, Subprocess, Docker, CondaEnv, External:
		return true
	}
	return false
}

// IsCloud tells whether the mode runs on another machine, by SSH or in a cloud.
func (m ExecutionMode) IsCloud() bool {
	switch m {
	case RemoteSSH, CloudVM, CloudContainer, CloudServerless, CloudGPU, CloudCPU, Kubernetes:
		return true
	}
	return false
}

// CloudProvider is who runs a remote resource.
type CloudProvider string

// The cloud providers, with the strings of the Python original.
const (
	AWS            CloudProvider = "aws"
	GCP            CloudProvider = "gcp"
	Azure          CloudProvider = "azure"
	LambdaLabs     CloudProvider = "lambda_labs"
	RunPod         CloudProvider = "runpod"
	VastAI         CloudProvider = "vast_ai"
	Paperspace     CloudProvider = "paperspace"
	TogetherAI     CloudProvider = "together_ai"
	CustomProvider CloudProvider = "custom"
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

// ByMode returns the plugins that run in that mode.
func ByMode(plugins []Plugin, mode ExecutionMode) []Plugin {
	return filter(plugins, func(p *Plugin) bool { return p.ExecutionMode == mode })
}

// Local returns the plugins that run on this machine.
func Local(plugins []Plugin) []Plugin {
	return filter(plugins, func(p *Plugin) bool { return p.ExecutionMode.IsLocal() })
}

// Cloud returns the plugins that run on other machines.
func Cloud(plugins []Plugin) []Plugin {
	return filter(plugins, func(p *Plugin) bool { return p.ExecutionMode.IsCloud() })
}

// Configured returns the plugins that have a config stored.
func Configured(plugins []Plugin) []Plugin {
	return filter(plugins, func(p *Plugin) bool { return p.Configured })
}

// Unconfigured returns the plugins that have none.
func Unconfigured(plugins []Plugin) []Plugin {
	return filter(plugins, func(p *Plugin) bool { return !p.Configured })
}

func filter(plugins []Plugin, keep func(*Plugin) bool) []Plugin {
	var kept []Plugin
	for i := range plugins {
		if keep(&plugins[i]) {
			kept = append(kept, plugins[i])
		}
	}
	return kept
}

// Stats counts plugins.
type Stats struct {
	Total               int
	Configured          int
	Unconfigured        int
	Local               int
	Cloud               int
	WithActiveResources int
	ByCategory          map[string]int
}

// StatsOf counts the plugins of a list.
func StatsOf(plugins []Plugin) Stats {
	s := Stats{Total: len(plugins), ByCategory: map[string]int{}}
	for i := range plugins {
		p := &plugins[i]
		s.Configured += one(p.Configured)
		s.Unconfigured += one(!p.Configured)
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
