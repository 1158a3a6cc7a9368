// Who and where the process is: ids, limits, the machine; and settings of which there is one
// choice.
#include <asm/prctl.h>
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstring>

#include "guests/linux/calls/handlers.h"
#include "guests/linux/calls/times.h"

namespace stasis::linux_guest {
namespace {

template <std::size_t kSize>
void set_text(char (&field)[kSize], std::string_view text) {  // NOLINT(modernize-avoid-c-arrays)
  std::memcpy(&field[0], text.data(), std::min(text.size(), kSize - 1));
}

bool is_own_process(int id) {
  return id == 0 || id == kProcessId;
}

bool is_own_thread(Call& call, int id) {
  return id == 0 || call.process.threads.find(id) != nullptr;
}

SysResult set_limit(Call& call, std::size_t resource, const rlimit64& wanted) {
  ResourceLimit& limit = call.process.limits[resource];
  if (wanted.rlim_cur > wanted.rlim_max) {
    return -EINVAL;
  }
  if (wanted.rlim_max > limit.hard) {
    return -EPERM;
  }
  limit = {wanted.rlim_cur, wanted.rlim_max};
  if (resource == RLIMIT_NOFILE) {
    call.process.descriptors.set_limit(wanted.rlim_cur);
  }
  return 0;
}

SysResult name_command(Call& call) {
  if (call.as_int(0) == PR_SET_NAME) {
    std::array<char, 16> name{};
    // Reads up to the zero only, which may be the last mapped byte.
    auto text = call.user.get_string(call.address(1), name.size());
    if (!text.ok() && text.code().value != ENAMETOOLONG) {
      return text.error();
    }
    if (!text.ok()) {
      if (call.user.get_bytes(call.address(1), std::as_writable_bytes(std::span(name))) != 0) {
        return -EFAULT;
      }
      call.thread.name.assign(name.data(), name.size() - 1);
      return 0;
    }
    call.thread.name = text->substr(0, name.size() - 1);
    return 0;
  }
  std::array<char, 16> name{};
  call.thread.name.copy(name.data(), name.size() - 1);
  return call.user.put(call.address(1), name);
}

}  // namespace

SysResult sys_getpid(Call& /*call*/) {
  return kProcessId;
}
SysResult sys_gettid(Call& call) {
  return call.thread.id;
}
SysResult sys_getppid(Call& /*call*/) {
  return 1;
}
SysResult sys_getuid(Call& /*call*/) {
  return kUserId;
}
SysResult sys_getgid(Call& /*call*/) {
  return kGroupId;
}
SysResult sys_getpgid(Call& call) {
  return is_own_process(call.as_int(0)) ? kProcessId : -ESRCH;
}
SysResult sys_getpgrp(Call& /*call*/) {
  return kProcessId;
}
SysResult sys_setpgid(Call& call) {
  return is_own_process(call.as_int(0)) && is_own_process(call.as_int(1)) ? 0 : -ESRCH;
}
SysResult sys_setsid(Call& /*call*/) {
  return -EPERM;  // The process leads its group already.
}

SysResult sys_get_three_ids(Call& call) {
  for (std::size_t i = 0; i < 3; ++i) {
    if (call.user.put(call.address(i), kUserId) != 0) {
      return -EFAULT;
    }
  }
  return 0;
}
SysResult sys_set_id(Call& call) {
  const bool keeps = call.as_u32(0) == kUserId || call.as_u32(0) == UINT32_MAX;
  return keeps ? 0 : -EPERM;
}
SysResult sys_getgroups(Call& call) {
  if (call.as_int(0) < 0) {
    return -EINVAL;
  }
  return call.as_int(0) == 0 ? 1 : call.user.put(call.address(1), kGroupId) != 0 ? -EFAULT : 1;
}

SysResult sys_capget(Call& call) {
  auto header = call.user.get<__user_cap_header_struct>(call.address(0));
  if (!header) {
    return -EFAULT;
  }
  if (header->version != _LINUX_CAPABILITY_VERSION_3) {
    header->version = _LINUX_CAPABILITY_VERSION_3;
    const SysResult wrong = call.user.put(call.address(0), *header);
    return wrong != 0 ? wrong : call[1] == 0 ? 0 : -EINVAL;
  }
  if (call[1] == 0) {
    return 0;
  }
  return call.user.put(call.address(1), std::array<__user_cap_data_struct, 2>{});
}

SysResult sys_umask(Call& call) {
  return static_cast<SysResult>(std::exchange(call.process.umask, call.as_u32(0) & 0777U));
}

SysResult sys_uname(Call& call) {
  utsname name{};
  set_text(name.sysname, "Linux");
  set_text(name.nodename, "stasis");
  set_text(name.release, "6.1.0-stasis");
  set_text(name.version, "#1 Stasis");
  set_text(name.machine, "x86_64");
  set_text(name.domainname, "(none)");  // NOLINT(clang-diagnostic-*): _GNU_SOURCE has it.
  return call.user.put(call.address(0), name);
}

SysResult sys_sysinfo(Call& call) {
  struct sysinfo info {};
  const AddressSpace& memory = *call.process.memory;
  info.uptime = call.process.clock.monotonic_ns() / kNsPerSecond;
  info.totalram = memory.memory_bytes();
  info.freeram = info.totalram - std::min(info.totalram, memory.resident_bytes());
  info.procs = 1;
  info.mem_unit = 1;
  return call.user.put(call.address(0), info);
}

SysResult sys_getcpu(Call& call) {
  for (std::size_t i = 0; i < 2; ++i) {
    if (call[i] != 0 && call.user.put(call.address(i), std::uint32_t{0}) != 0) {
      return -EFAULT;
    }
  }
  return 0;
}

SysResult sys_getrandom(Call& call) {
  constexpr std::uint32_t kKnown = GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE;
  if ((call.as_u32(2) & ~kKnown) != 0) {
    return -EINVAL;
  }
  const std::uint64_t wanted = std::min(call[1], kTransferBytesMax);
  std::vector<std::byte> piece(std::min<std::uint64_t>(wanted, 65536));
  std::uint64_t done = 0;
  while (done < wanted) {
    const auto bytes = std::span(piece).first(std::min<std::uint64_t>(piece.size(), wanted - done));
    call.process.random(bytes);
    const std::size_t copied = call.user.memory().write(call.address(0) + done, bytes);
    done += copied;
    if (copied < bytes.size()) {
      return done != 0 ? static_cast<SysResult>(done) : -EFAULT;
    }
  }
  return static_cast<SysResult>(done);
}

SysResult sys_prlimit64(Call& call) {
  if (!is_own_process(call.as_int(0))) {
    return -ESRCH;
  }
  const std::size_t resource = call.as_u32(1);
  if (resource >= kResourceLimits) {
    return -EINVAL;
  }
  const ResourceLimit old = call.process.limits[resource];
  if (call[2] != 0) {
    const auto wanted = call.user.get<rlimit64>(call.address(2));
    if (!wanted) {
      return -EFAULT;
    }
    if (const SysResult wrong = set_limit(call, resource, *wanted); wrong != 0) {
      return wrong;
    }
  }
  return call[3] == 0 ? 0 : call.user.put(call.address(3), rlimit64{old.soft, old.hard});
}

SysResult sys_getrlimit(Call& call) {
  const std::size_t resource = call.as_u32(0);
  if (resource >= kResourceLimits) {
    return -EINVAL;
  }
  const ResourceLimit& limit = call.process.limits[resource];
  return call.user.put(call.address(1), rlimit64{limit.soft, limit.hard});
}

SysResult sys_setrlimit(Call& call) {
  const std::size_t resource = call.as_u32(0);
  const auto wanted = call.user.get<rlimit64>(call.address(1));
  if (resource >= kResourceLimits || !wanted) {
    return resource >= kResourceLimits ? -EINVAL : -EFAULT;
  }
  return set_limit(call, resource, *wanted);
}

SysResult sys_prctl(Call& call) {
  switch (call.as_int(0)) {
    case PR_SET_NAME:
    case PR_GET_NAME:
      return name_command(call);
    case PR_GET_DUMPABLE:
      return call.process.dumpable;
    case PR_SET_DUMPABLE:
      if (call[1] > 1) {
        return -EINVAL;
      }
      call.process.dumpable = static_cast<int>(call[1]);
      return 0;
    case PR_SET_PDEATHSIG:
    case PR_SET_NO_NEW_PRIVS:
    case PR_SET_TIMERSLACK:
    case PR_SET_PTRACER:
    case PR_SET_THP_DISABLE:
    case PR_SET_CHILD_SUBREAPER:
    case PR_SET_VMA:
      return 0;
    case PR_GET_NO_NEW_PRIVS:
      return 1;
    case PR_GET_TIMERSLACK:
      return 50'000;
    case PR_GET_THP_DISABLE:
    case PR_GET_SECCOMP:
    case PR_GET_KEEPCAPS:
      return 0;
    case PR_CAPBSET_READ:
      return call[1] <= CAP_LAST_CAP ? 0 : -EINVAL;
    default:
      return -EINVAL;
  }
}

SysResult sys_arch_prctl(Call& call) {
  TrapCpu& cpu = *call.cpu;
  switch (call.as_int(0)) {
    case ARCH_SET_FS:
    case ARCH_SET_GS:
      if (call[1] >= kUserSpaceEnd) {
        return -EPERM;
      }
      if (call.as_int(0) == ARCH_SET_FS) {
        cpu.set_fs_base(call[1]);
      } else {
        cpu.set_gs_base(call[1]);
      }
      return 0;
    case ARCH_GET_FS:
      return call.user.put(call.address(1), cpu.fs_base());
    case ARCH_GET_GS:
      return call.user.put(call.address(1), cpu.gs_base());
    default:
      return -EINVAL;  // CET, LAM and CPUID faulting: not here.
  }
}

SysResult sys_sched_getaffinity(Call& call) {
  if (!is_own_thread(call, call.as_int(0))) {
    return -ESRCH;
  }
  if (call.as_u32(1) < 8 || call.as_u32(1) % 8 != 0) {
    return -EINVAL;
  }
  return call.user.put(call.address(2), std::uint64_t{1}) != 0 ? -EFAULT : 8;
}
SysResult sys_sched_setaffinity(Call& call) {
  if (!is_own_thread(call, call.as_int(0))) {
    return -ESRCH;
  }
  const auto first = call.user.get<std::uint8_t>(call.address(2));
  return !first ? -EFAULT : call.as_u32(1) == 0 || (*first & 1U) == 0 ? -EINVAL : 0;
}
SysResult sys_sched_getscheduler(Call& call) {
  return is_own_thread(call, call.as_int(0)) ? SCHED_OTHER : -ESRCH;
}
SysResult sys_sched_setscheduler(Call& call) {
  const auto parameter = call.user.get<std::int32_t>(call.address(2));
  return !parameter ? -EFAULT : call.as_int(1) == SCHED_OTHER && *parameter == 0 ? 0 : -EPERM;
}
SysResult sys_sched_getparam(Call& call) {
  return is_own_thread(call, call.as_int(0)) ? call.user.put(call.address(1), std::int32_t{0})
                                             : -ESRCH;
}
SysResult sys_sched_priority(Call& call) {
  const bool is_real_time = call.as_int(0) == SCHED_FIFO || call.as_int(0) == SCHED_RR;
  if (call.as_int(0) < 0 || call.as_int(0) > SCHED_IDLE) {
    return -EINVAL;
  }
  return !is_real_time ? 0 : call.number == 146 ? 99 : 1;  // sched_get_priority_max, _min
}
SysResult sys_sched_rr_get_interval(Call& call) {
  return call.user.put(call.address(1), timespec_of(0));
}
SysResult sys_sched_yield(Call& call) {
  call.process.yields = true;
  return 0;
}
SysResult sys_getpriority(Call& /*call*/) {
  return 20;  // Nice 0, in the kernel's encoding.
}

}  // namespace stasis::linux_guest
