"""ZFS: finding datasets and having them mounted for reading, with OpenZFS and with zfs-fuse."""
