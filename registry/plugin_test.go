package registry_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// resources are resources with every part set.
func resources() registry.Resources {
	return registry.Resources{
		ManagesChildProcesses: true, ManagesExternalResources: true, ChildPIDs: []int{1, 2}, ContainerID: "c1", CondaEnv: "speech",
		Remote: &registry.RemoteResource{
			Provider: registry.ProviderAWS, Region: "eu-central-1", InstanceID: "i-1", JobID: "j-1", EndpointURL: "https://example.org",
			SSHHost: "example.org", SSHPort: 2222, Status: registry.StatusRunning, Type: "p3.2xlarge", GPUCount: 1, GPUType: "V100",
			CostPerHour: 3.06,
			Metadata: map[string]any{
				"nothing": nil, "zone": "a", "nested": map[string]any{"list": []any{map[string]any{"deep": 1}}},
				"strings": []string{"x"}, "array": [1][]string{{"x"}}, "labels": map[string]string{"k": "v"},
			},
		},
	}
}

// spoilResources changes whatever copies of r may share.
func spoilResources(r *registry.Resources) {
	for i := range r.ChildPIDs {
		r.ChildPIDs[i] = -1
	}
	if r.Remote == nil {
		return
	}
	m := r.Remote.Metadata
	r.Remote.Region = "spoilt"
	if nested, ok := m["nested"].(map[string]any); ok {
		nested["list"].([]any)[0].(map[string]any)["deep"] = "spoilt"
		m["strings"].([]string)[0] = "spoilt"
		m["array"].([1][]string)[0][0] = "spoilt"
		m["labels"].(map[string]string)["k"] = "spoilt"
	}
	clear(m)
}

func TestExecutionModes(t *testing.T) {
	for _, test := range []struct {
		mode         registry.ExecutionMode
		text         string
		local, cloud bool
	}{
		{registry.ModeInProcess, "in_process", true, false},
		{registry.ModeSubprocess, "subprocess", true, false},
		{registry.ModeDocker, "docker", true, false},
		{registry.ModeCondaEnv, "conda_env", true, false},
		{registry.ModeExternal, "external", true, false},
		{registry.ModeRemoteSSH, "remote_ssh", false, true},
		{registry.ModeCloudVM, "cloud_vm", false, true},
		{registry.ModeCloudContainer, "cloud_container", false, true},
		{registry.ModeCloudServerless, "cloud_serverless", false, true},
		{registry.ModeCloudGPU, "cloud_gpu", false, true},
		{registry.ModeCloudCPU, "cloud_cpu", false, true},
		{registry.ModeKubernetes, "kubernetes", false, true},
		{"", "", true, false},
		{"elsewhere", "elsewhere", false, false},
	} {
		if string(test.mode) != test.text || test.mode.IsLocal() != test.local || test.mode.IsCloud() != test.cloud {
			t.Errorf("%q: local %t, cloud %t; want %q, %t, %t",
				test.mode, test.mode.IsLocal(), test.mode.IsCloud(), test.text, test.local, test.cloud)
		}
	}
}

func TestCloudProviders(t *testing.T) {
	got := []registry.CloudProvider{registry.ProviderAWS, registry.ProviderGCP, registry.ProviderAzure, registry.ProviderLambdaLabs, registry.ProviderRunPod, registry.ProviderVastAI,
		registry.ProviderPaperspace, registry.ProviderTogetherAI, registry.ProviderCustom}
	want := []registry.CloudProvider{"aws", "gcp", "azure", "lambda_labs", "runpod", "vast_ai", "paperspace", "together_ai", "custom"}
	if !slices.Equal(got, want) {
		t.Errorf("the providers are %q, want %q", got, want)
	}
}

func TestHasActiveResources(t *testing.T) {
	for _, test := range []struct {
		r    registry.Resources
		want bool
	}{
		{registry.Resources{}, false},
		{registry.Resources{ManagesChildProcesses: true, ManagesExternalResources: true, CondaEnv: "e", ChildPIDs: []int{}}, false},
		{registry.Resources{ChildPIDs: []int{1}}, true},
		{registry.Resources{ContainerID: "c"}, true},
		{registry.Resources{Remote: &registry.RemoteResource{}}, false},
		{registry.Resources{Remote: &registry.RemoteResource{Status: "stopped", InstanceID: "i"}}, false},
		{registry.Resources{Remote: &registry.RemoteResource{Status: "running"}}, true},
	} {
		if got := test.r.HasActiveResources(); got != test.want {
			t.Errorf("HasActiveResources of %+v = %t", test.r, got)
		}
	}
}

func TestFiltersAndStats(t *testing.T) {
	plugins := registry.Plugins{
		{Category: "a", Name: "1", ExecutionMode: registry.ModeInProcess, Configured: true},
		{Category: "a", Name: "2", ExecutionMode: registry.ModeDocker, Resources: registry.Resources{ContainerID: "c"}},
		{Category: "b", Name: "3", ExecutionMode: registry.ModeCloudGPU, Configured: true,
			Resources: registry.Resources{Remote: &registry.RemoteResource{Status: registry.StatusRunning}}},
		{Category: "b", Name: "4", ExecutionMode: registry.ModeRemoteSSH},
		{Category: "b", Name: "5", ExecutionMode: "elsewhere"},
	}
	given := slices.Clone(plugins)
	for name, test := range map[string]struct {
		got  registry.Plugins
		want []string
	}{
		"ByMode docker":     {plugins.InMode(registry.ModeDocker), []string{"2"}},
		"ByMode kubernetes": {plugins.InMode(registry.ModeKubernetes), nil},
		"Local":             {plugins.Local(), []string{"1", "2"}},
		"Cloud":             {plugins.Cloud(), []string{"3", "4"}},
		"Configured":        {plugins.Configured(), []string{"1", "3"}},
		"Unconfigured":      {plugins.Unconfigured(), []string{"2", "4", "5"}},
		"Local of nothing":  {registry.Plugins(nil).Local(), nil},
	} {
		if got := namesOf(test.got); !slices.Equal(got, test.want) {
			t.Errorf("%s = %v, want %v", name, got, test.want)
		}
		for i := range test.got {
			test.got[i].Name = "spoilt"
		}
	}
	if !reflect.DeepEqual(plugins, given) {
		t.Error("a filter returned the list that it was given, or changed it")
	}
	want := registry.Stats{Total: 5, Configured: 2, Unconfigured: 3, Local: 2, Cloud: 2, WithActiveResources: 2,
		ByCategory: map[string]int{"a": 2, "b": 3}}
	if got := plugins.Stats(); !reflect.DeepEqual(got, want) {
		t.Errorf("Stats = %+v, want %+v", got, want)
	}
	if got := registry.Plugins(nil).Stats(); got.Total != 0 || got.ByCategory == nil {
		t.Errorf("Stats of nothing = %+v", got)
	}
}

// TestEndlessMetadata: a plugin whose metadata hold themselves fails alone.
func TestEndlessMetadata(t *testing.T) {
	endless := map[string]any{}
	endless["self"] = []any{endless}
	deep := any("x")
	for range 100 {
		deep = map[string]any{"in": deep}
	}
	deepest := registry.Info{Name: "deep", Resources: registry.Resources{Remote: &registry.RemoteResource{Metadata: deep.(map[string]any)}}}
	loop := registry.Info{Name: "loop", Resources: registry.Resources{Remote: &registry.RemoteResource{Metadata: endless}}}
	plugins, err := registry.New(memory.New()).RegisterManager(t.Context(), "c", describing(loop, deepest))
	failed, ok := errors.AsType[*registry.DiscoveryError](err)
	if !ok || len(failed.Failures) != 1 || !strings.Contains(failed.Failures[0].Error(), `"loop"`) || len(plugins) != 1 {
		t.Errorf("%d plugins, %v", len(plugins), err)
	}
}
