// Package settings serves settings pages and an HTTP API over a registry: a person sees every plugin, fills in its form and saves it. It is
// an http.Handler for a host to mount under any prefix, behind the host's own authentication. The pages work without JavaScript, and no
// secret ever leaves.
//
//	h := settings.New(reg)
//	defer h.Close()
//	mux.Handle("/admin/settings/", http.StripPrefix("/admin/settings", auth(h)))
//
// The form is a patch over the stored text: only what a person changed is changed, everything else keeps its bytes. If somebody else has
// saved meanwhile, nothing is overwritten: the page shows what is stored with the changes on top.
//
// docs/settings.md lists the routes, what the host must do, and what a form cannot show.
package settings
