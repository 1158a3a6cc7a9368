// mmap(2) and its family, delegated to the address space after the checks that concern files.
#include <errno.h>
#include <sys/mman.h>

#include <algorithm>

#include "guests/linux/calls/handlers.h"

namespace stasis::linux_guest {
namespace {

constexpr int kProtectionBits = PROT_READ | PROT_WRITE | PROT_EXEC;

Protection protection_of(int bits) {
  Protection protection = Protection::kNone;
  protection = protection | ((bits & PROT_READ) != 0 ? Protection::kRead : Protection::kNone);
  protection = protection | ((bits & PROT_WRITE) != 0 ? Protection::kWrite : Protection::kNone);
  return protection | ((bits & PROT_EXEC) != 0 ? Protection::kExecute : Protection::kNone);
}

SysResult attach_file(Call& call, MapRequest& request) {
  const std::shared_ptr<File> file = call.file(4);
  if (file == nullptr) {
    return -EBADF;
  }
  if (!file->can_read()) {
    return -EACCES;
  }
  const bool is_shared = request.sharing == MapRequest::Sharing::kShared;
  if (is_shared && has(request.protection, Protection::kWrite) && !file->can_write()) {
    return -EACCES;
  }
  if (call[5] % kPageBytes != 0 || call[5] > std::uint64_t{INT64_MAX}) {
    return -EINVAL;
  }
  if (file->kind() == FileKind::kDevice && file->path() == "/dev/zero") {
    return 0;  // Anonymous memory by its old name.
  }
  SysOr<std::shared_ptr<const MappedFile>> mapping = file->mapping();
  if (!mapping.ok()) {
    return mapping.error();
  }
  request.file = *mapping;
  request.may_write = is_shared && file->can_write();
  request.file_offset = call[5];
  return 0;
}

}  // namespace

SysResult sys_mmap(Call& call) {
  const int flags = call.as_int(3);
  const int type = flags & MAP_TYPE;
  if (call[1] == 0 || (type != MAP_PRIVATE && type != MAP_SHARED && type != MAP_SHARED_VALIDATE)) {
    return -EINVAL;
  }
  if (call[1] > kUserSpaceEnd || (flags & MAP_HUGETLB) != 0) {
    return -ENOMEM;
  }
  MapRequest request;
  request.hint = call.address(0);
  request.size_bytes = call[1];
  request.protection = protection_of(call.as_int(2));
  if ((flags & MAP_FIXED_NOREPLACE) != 0) {
    request.placement = MapRequest::Placement::kFixedNoReplace;
  } else if ((flags & MAP_FIXED) != 0) {
    request.placement = MapRequest::Placement::kFixed;
  }
  if (request.placement != MapRequest::Placement::kAnywhere && call[0] % kPageBytes != 0) {
    return -EINVAL;
  }
  request.sharing =
      type == MAP_PRIVATE ? MapRequest::Sharing::kPrivate : MapRequest::Sharing::kShared;
  request.grows_down = (flags & MAP_GROWSDOWN) != 0;
  if ((flags & MAP_ANONYMOUS) == 0) {
    if (const SysResult wrong = attach_file(call, request); wrong != 0) {
      return wrong;
    }
  }
  return call.process.memory->map(request);
}

SysResult sys_munmap(Call& call) {
  return call[0] % kPageBytes != 0 || call[1] == 0
             ? -EINVAL
             : call.process.memory->unmap(call.address(0), call[1]);
}

SysResult sys_mprotect(Call& call) {
  if (call[0] % kPageBytes != 0 || (call.as_int(2) & ~kProtectionBits) != 0) {
    return -EINVAL;
  }
  return call[1] == 0 ? 0
                      : call.process.memory->protect(call.address(0), call[1],
                                                     protection_of(call.as_int(2)));
}

SysResult sys_mremap(Call& call) {
  if (call[0] % kPageBytes != 0 || call[2] == 0) {
    return -EINVAL;
  }
  return call.process.memory->remap(call.address(0), call[1], call[2], call[3], call.address(4));
}

SysResult sys_madvise(Call& call) {
  if (call[0] % kPageBytes != 0) {
    return -EINVAL;
  }
  return call[1] == 0 ? 0 : call.process.memory->advise(call.address(0), call[1], call.as_int(2));
}

SysResult sys_brk(Call& call) {
  return call.process.memory->set_break(call.address(0));
}

SysResult sys_msync(Call& call) {
  return call[0] % kPageBytes != 0 ? -EINVAL : 0;  // There is nothing to write back to.
}

SysResult sys_mincore(Call& call) {
  const std::uint64_t pages = (call[1] / kPageBytes) + (call[1] % kPageBytes != 0 ? 1 : 0);
  if (call[0] % kPageBytes != 0 || pages > kUserSpaceEnd / kPageBytes) {
    return call[0] % kPageBytes != 0 ? -EINVAL : -ENOMEM;
  }
  // Whether each page is mapped; which of them are resident only the address space knows.
  const std::uint64_t end = call[0] + (pages * kPageBytes);
  std::uint64_t reached = call[0];
  for (const Mapping& mapping : call.process.memory->mappings()) {
    if (mapping.begin.value <= reached && reached < mapping.begin.value + mapping.size_bytes) {
      reached = mapping.begin.value + mapping.size_bytes;
    }
  }
  if (reached < end) {
    return -ENOMEM;
  }
  const std::vector<std::byte> present(std::min<std::uint64_t>(pages, 65536), std::byte{1});
  for (std::uint64_t done = 0; done < pages;) {
    const auto piece =
        std::span(present).first(std::min<std::uint64_t>(present.size(), pages - done));
    if (call.user.put_bytes(call.address(2) + done, piece) != 0) {
      return -EFAULT;
    }
    done += piece.size();
  }
  return 0;
}

// mlock, munlock, mlockall, munlockall, membarrier: on one vCPU without swap they hold anyway.
SysResult sys_nothing(Call& /*call*/) {
  return 0;
}

SysResult sys_membarrier(Call& call) {
  constexpr int kSupported = 0x1ff;  // Every command up to MEMBARRIER_CMD_REGISTER_..._RSEQ.
  if (call.as_int(0) == 0) {
    return kSupported & ~0x180;  // Without those for rseq, which there is none of.
  }
  return call.as_u32(1) == 0 && (call.as_int(0) & ~(kSupported & ~0x180)) == 0 ? 0 : -EINVAL;
}

}  // namespace stasis::linux_guest
