"""From one storage driver to another: the layers' files, and the names that go with them.

`migrator.commands.convert` is the procedure; here are its parts. A store that Docker
>= 1.10 made is read by `stored` and its metadata carried over by `carrying`; what
a legacy store becomes is for `migrator.migration.rewriting`. The layers' own files are built
by `trees`, in worker processes, for either.
"""
