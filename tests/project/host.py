"""What this host can do, as far as these tests depend on it."""

import fcntl
import os

KVM_GET_API_VERSION = 0xAE00


def kvm_works() -> bool:
    """/dev/kvm exists, may be opened, and is KVM with its stable interface."""
    try:
        fd = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return fcntl.ioctl(fd, KVM_GET_API_VERSION) == 12
    except OSError:
        return False
    finally:
        os.close(fd)
