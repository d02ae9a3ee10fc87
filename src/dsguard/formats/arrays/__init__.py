"""Arrays: ``.npy`` and ``.npz`` files, and pickles of CIFAR-10 and CIFAR-100."""
