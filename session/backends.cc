#include "session/backends.h"

#include <array>
#include <optional>
#include <utility>

#include "kvm/probe.h"
#include "mock/mock_backend.h"

#ifdef STASIS_HAS_HVF
#include "hvf/backend.h"
#endif

namespace stasis::session {

namespace {

constexpr std::string_view kAuto = "auto";

struct BackendEntry {
  std::string_view name;
  std::string_view summary;
  bool on_request_only;
  Result<std::unique_ptr<HypervisorBackend>> (*make)(const BackendOptions&);
};

Result<std::unique_ptr<HypervisorBackend>> make_kvm(const BackendOptions& options) {
  kvm::Options kvm_options;
  kvm_options.device_path = options.kvm_device;
  return kvm::make_backend(kvm_options);
}

// Apple's framework, or the simulation of it: a build has at most one of them.
#if defined(STASIS_HAS_HVF) && defined(__APPLE__)
Result<std::unique_ptr<HypervisorBackend>> make_hvf(const BackendOptions& /*options*/) {
  return hvf::make_backend();
}
#else
Result<std::unique_ptr<HypervisorBackend>> make_hvf(const BackendOptions& /*options*/) {
  return Error{Errc::kNotSupported, 0,
               "this build has no backend for Apple's Hypervisor.framework: it needs macOS 15 on "
               "Apple silicon"};
}
#endif

#if defined(STASIS_HAS_HVF) && !defined(__APPLE__)
Result<std::unique_ptr<HypervisorBackend>> make_hvf_sim(const BackendOptions& /*options*/) {
  return hvf::make_backend();
}
#else
Result<std::unique_ptr<HypervisorBackend>> make_hvf_sim(const BackendOptions& /*options*/) {
  return Error{Errc::kNotSupported, 0,
               "this build has no simulation of Hypervisor.framework: it needs Linux"};
}
#endif

Result<std::unique_ptr<HypervisorBackend>> make_mock(const BackendOptions& options) {
  mock::MockOptions mock_options;
  mock_options.page_size_bytes = options.mock_page_size_bytes;
  mock_options.vms_per_process = options.mock_forbid_second_vm ? 1 : 0;
  return mock::make_mock_backend(mock_options);
}

// In the order of preference.
constexpr std::array<BackendEntry, 4> kBackends = {{
    {"kvm", "Linux KVM, x86-64", false, make_kvm},
    {"hvf", "Apple Hypervisor.framework, arm64", false, make_hvf},
    {"hvf-sim", "Hypervisor.framework simulated by QEMU, arm64, for tests", true, make_hvf_sim},
    {"mock", "a toy CPU in this process, for tests", true, make_mock},
}};

// Backends say "reason: cure".
Availability refused(std::string_view name, const Error& error) {
  Availability availability;
  availability.name = name;
  const std::size_t cut = error.message.find(": ");
  availability.reason = error.message.substr(0, cut);
  if (cut != std::string::npos) {
    availability.cure = error.message.substr(cut + 2);
  }
  return availability;
}

Error nothing_usable(const BackendOptions& options) {
  std::string message = "no backend can be used on this host";
  for (const BackendEntry& entry : kBackends) {
    if (entry.on_request_only) {
      continue;
    }
    if (const auto backend = entry.make(options); !backend) {
      message += "; " + backend.error().message;
    }
  }
  return Error{Errc::kNotSupported, 0, std::move(message)};
}

}  // namespace

std::vector<BackendInfo> list_backends(const BackendOptions& options) {
  std::vector<BackendInfo> infos;
  for (const BackendEntry& entry : kBackends) {
    const auto backend = entry.make(options);
    Availability availability;
    availability.name = entry.name;
    availability.available = true;
    infos.push_back({.availability = backend ? availability : refused(entry.name, backend.error()),
                     .on_request_only = entry.on_request_only,
                     .summary = std::string(entry.summary)});
  }
  return infos;
}

Result<std::unique_ptr<HypervisorBackend>> make_backend(std::string_view name,
                                                        const BackendOptions& options) {
  std::string known(kAuto);
  for (const BackendEntry& entry : kBackends) {
    if (name == kAuto ? !entry.on_request_only : name == entry.name) {
      auto backend = entry.make(options);
      if (backend) {
        return backend;
      }
      if (name != kAuto) {
        // Missing devices and permissions are one thing to a caller: it cannot be used here.
        Error error = std::move(backend).error();
        if (error.code == Errc::kNotFound || error.code == Errc::kIo) {
          error.code = Errc::kNotSupported;
        }
        return error;
      }
    }
    known += ", " + std::string(entry.name);
  }
  if (name == kAuto) {
    return nothing_usable(options);
  }
  return Error{
      Errc::kInvalidArgument, 0,
      "backend '" + std::string(name) + "': there is none of that name; there are: " + known};
}

}  // namespace stasis::session
