#!/bin/sh
# Runs in place of the GPU backend's tests when the backend is not built.
echo "no CUDA toolkit, or CUDA=0: the GPU backend is not built and its tests are not run (make test-all fetches the toolkit, 1 GB)"
exit 77
