// Package pluginsystem holds typed plugin systems: plugins that run in this program, all of which are a P, an interface of the
// application's own.
//
// A plugin is defined once, usually from an init function of its package, as the drivers of database/sql are:
//
//	func init() {
//		pluginsystem.Define(pluginsystem.WithConfig(
//			pluginsystem.Definition[Transcriber]{Name: "whisper", Version: "1.2.0", Title: "Whisper"},
//			func(ctx context.Context, c Config) (Transcriber, error) { … }))
//	}
//
// [RegisterSystem] makes the [Manager] of all that were defined for one P and registers it. Hosts and tests that want no globals pass
// definitions to [NewManager] and register it themselves; both work side by side.
//
// The manager makes the instances: [Manager.LoadConfigured] with the config that is stored, [Manager.Load] with any other. A plugin has
// one instance at a time, however many ask for it. [Manager.Follow] reloads it when its stored config changes.
//
// # Resources
//
// What an instance holds beyond memory it tells by optional interfaces, which are found by type assertion: [ExecutionModer],
// [ProcessHolder], [ResourceHolder], [ForceCleaner] for what is on this machine, [RemoteHolder], [RemoteStatuser], [RemoteProvisioner],
// [RemoteTerminator], [CostEstimator] for what is elsewhere. They are the lifecycle and cloud protocols of the Python original, one
// interface for each of their methods. [Resources], [EstimateCost] and [Cleanup] go over all typed systems of a registry, the methods of
// these names over one.
//
// # Errors
//
// An error of one plugin is a *[Error] with its name. A panic in a plugin's code is an error of that plugin; its text tells the type of
// the panic and its place, not what it says, which may quote a config. The errors that plugins themselves return are passed on as they
// are: what they quote is their own affair.
package pluginsystem
