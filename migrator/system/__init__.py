"""The kernel's side: what names a system call, `/proc`, `/sys`, or a file that may be anything."""
