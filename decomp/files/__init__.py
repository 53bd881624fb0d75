"""Instances, results and frontiers as HDF5 files.

`store` says what is in a file and checks it; `hdf5` is the layer on h5py (dimensions and units); `atomic` writes files
whole or not at all.
"""
