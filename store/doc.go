// Package store is the contract between a registry and whatever keeps the configurations of its plugins.
//
// A [Store] has four methods. What some stores can do beyond them is an optional interface found by type assertion: [Batcher],
// [Historian], [Watcher], [Resealer]. The functions [PutAll], [History] and [Watch] use them where they are there.
//
// The stores of this module are sqlite (the default), jsonfile and memory, each in a package of its own, so that a program links
// only the drivers that it uses. A store of your own is right when storetest.Run passes.
package store
