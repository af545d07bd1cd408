"""Reading a device-mapper thin pool without device-mapper.

The mapping of every thin device comes from `thin_dump`; a device is put
together from the pool's blocks as a sparse file, and mounted read-only through
a loop device, where nobody else sees it. The pool itself is only read.

    store           a store that is open: what the driver uses
    records         which device a layer is
    place           where the pool is, and whether the kernel has it open
    superblock      the head of the pool's metadata
    mapping         which data block each block of each device is in
    pool            the data, with its devices
    image           a device as a sparse file, made from another one's
    loop            block devices that show files
    reader          the few layers that a process has mounted
    order           which layer to read next, so that little is read twice
"""
