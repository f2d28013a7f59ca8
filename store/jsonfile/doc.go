// Package jsonfile is a store that keeps each config in a file of its own: <dir>/<plugin id>.json. People can read the files with
// any pager, edit them with any editor, and keep them under version control.
//
//	st, err := jsonfile.Open("/var/lib/myapp/plugins")
//	defer st.Close()
//
// # What is in the directory
//
// A config is written byte for byte as Python's json.dump(config, f, indent=2) writes it, and read as any JSON object within the
// limits of store.Canonical, however it is laid out. (A config so deeply nested that this would take more than 16 MiB is written
// without white space.) The file name is the plugin ID and ".json". What is dangerous in file names is written as %XX: the
// characters / \ : * ? " < > | % and control characters, a dot in front, a dot or space at the end of the ID, and the first letter
// of a name that is a device on Windows, such as con. An ID whose file name would have more than 255 bytes is store.ErrInvalidID.
//
// The directory is made 0700 if it is missing, and files are made 0600; the modes of what is there are left alone. Beside the configs
// there may be:
//
//   - .pluginregistry.lock, which writers lock. Never delete it while a program runs: two of them could then write at once.
//   - .pluginregistry-journal, for the moment between deciding on a batch and finishing it. If a process is killed in that moment,
//     the next one to read or write finishes it. One that may not write to the directory gets an error until then.
//   - .pluginregistry-*.tmp, files being written. What a killed process left is removed by the next Open.
//   - NAME.json.corrupt-N, the bytes that could not be read when a new config was saved over them or they were deleted.
//
// All other files are left alone, and so are hidden ones.
//
// # Moving from the Python original
//
// Open the directory that the original wrote: its files are found under their names. The original wrote every character as it
// was; a file such as a:b.json is used, and written, under that name, as long as there is no a%3Ab.json. If there are both,
// a%3Ab.json counts, and the next save or deletion renames the other to a:b.json.corrupt-1. A name that can be read both ways, as
// a%3Ab.json, is always that of the ID a:b. (Not on Windows, where such names do not exist.)
//
// # What cannot be read
//
// A file that is not a JSON object within the limits, a directory, a symbolic link or anything else that is no regular file is
// store.ErrCorrupt. It counts as configured and stays as it is until someone repairs or deletes it or saves over it, and even then
// its bytes are kept aside.
//
// A file system that does not tell upper from lower case, or normalises accents, cannot keep two IDs apart that differ in nothing
// else. There the second of them is store.ErrInvalidID, with the name of the first.
//
// # Revisions
//
// A revision is a hash of the bytes of the file (32 hex digits of its SHA-256), so an edit by hand is a new revision, and a save
// with the old one is a conflict. The same revision always means the same bytes. A config that is changed from A to B and back to
// A has its first revision again: a save with that revision then succeeds, and overwrites nothing that its caller has not seen.
// UpdatedAt is the modification time of the file.
//
// # Several processes
//
// Any number of processes may use one directory. Writers wait for each other at the lock file (flock, on Windows LockFileEx). Get
// takes no lock: a file is always whole, because a new one is written aside, synced and renamed into place. Configured takes the
// lock for one reading of the directory, so that it never shows half of a batch; only where the lock file cannot be had, as in a
// directory that is read-only, it reads without. Locks of this kind are kept between machines only by some network file systems (NFS 4
// on Linux does, many others do not); let only one machine write to a directory that several share.
//
// # Durability
//
// A directory that is deleted, moved or replaced by another while it is open is an error at every call: open the store again.
//
// A write that has returned nil outlasts a crash of the process and of the machine. If the disk is full or the directory
// read-only, the error wraps that of the system, and the old file stays. One case is out of anyone's hands: if the system
// reports an error when the directory is synced, after the new file was put in place, the write fails though the new config is there.
package jsonfile
