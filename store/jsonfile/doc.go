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
// Beside the configs there may be:
//
//   - .pluginregistry-notes, the notes of all plugin IDs, as JSON; see store.Annotator. It is written and locked like a config. If it cannot
//     be read, that is an error of the notes only, and it is not replaced.
//   - .pluginregistry.lock, which writers lock. Never delete it while a program runs: two of them could then write at once.
//   - .pluginregistry-journal, for the moment between deciding on a batch and finishing it. If a process is killed in that moment,
//     the next one to read or write finishes it. One that may not write to the directory gets an error until then.
//   - .pluginregistry-*.tmp, files being written. What a killed process left is removed by the next Open.
//   - NAME.json.corrupt-N, the bytes that could not be read when a new config was saved over them or they were deleted.
//
// All other files are left alone, and so are hidden ones.
//
// # Owners and modes
//
// The directory is made 0700 if it is missing. A file that is saved keeps its mode and, as far as the process may, its owner and group:
// root gives the new file to the owner and group of the old one, other users give it to the group if they are in it, and a group that
// they are not in gets no more rights than others have. A new file, the lock file included, is 0600. If its group may write to the
// directory, or others may not enter it, the group gets the rights to read and write that it has to the directory. As root a new file
// belongs to the owner and group of the directory. So several users of one group can share a directory that is 0770 or 2770, and a save
// by root does not lock a service out of its own files. Access control lists and extended attributes are not kept.
//
// # Links and mounts
//
// A symbolic link to a regular file is read like the file, wherever it leads, as in a mounted Kubernetes ConfigMap. Saving over it is an
// error, because a save would put a file in its place; deleting removes the link only. A single file that is mounted into a container
// cannot be replaced (EBUSY): mount its directory. In a directory that is read-only all can be read.
//
// # Moving from the Python original
//
// Open the directory that the original wrote: its files are found under their names. The original wrote every character as it
// was; a file such as a:b.json is used, and written, under that name, as long as there is no a%3Ab.json. If there are both,
// a%3Ab.json counts, and the next save or deletion renames the other to a:b.json.corrupt-1. A name that can be read both ways, as
// a%3Ab.json, is always that of the ID a:b. (Not on Windows, where such names do not exist.)
//
// The other way round the original, which looks for the ID and ".json", does not find what Go has begun under a name with an escape. These
// are IDs with one of \ : * ? " < > | %, with a control character, with a dot at the beginning, with a dot or space at the end, that are a
// device on Windows (con, nul, com1, …), and those with a slash, which the original cannot keep at all. Other IDs have one name in both.
//
// # What cannot be read
//
// A file that is not a JSON object within the limits, a directory, a link that leads to no file or anything else that is no regular file is
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
// If the ID has a note, the revision is a hash of the file and the note together. UpdatedAt is the modification time of the file, which a
// note does not change.
//
// # Several processes
//
// Any number of processes may use one directory. Writers wait for each other at the lock file (flock, on Windows LockFileEx), at most
// for the time that WithBusyTimeout sets. If another process is stopped while it holds the lock, the error names the lock file and wraps
// os.ErrDeadlineExceeded. Get
// takes no lock: a file is always whole, because a new one is written aside, synced and renamed into place. Configured takes the
// lock for one reading of the directory, so that it never shows half of a batch; only where the lock file cannot be had, as in a
// directory that is read-only, it reads without. Locks of this kind are kept between machines only by some network file systems (NFS 4
// on Linux does, many others do not); let only one machine write to a directory that several share.
//
// # Durability
//
// A directory that is deleted, moved or replaced by another while it is open is an error at every call: open the store again.
//
// A write that has returned nil outlasts a crash of the process and of the machine, also if it found its work done by another program that
// had synced nothing, or by a save before that failed. If the disk is full or the directory read-only, the error wraps that of the
// system, and the old file stays. If the system reports an error when a directory is synced, nobody knows what is on the disk: the error
// is store.ErrUncertain, and the same write again is done anew. Watch tells of a change once it is synced, whoever made it.
package jsonfile
