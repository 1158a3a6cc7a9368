#include "snapshot/restore/requirements.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <string_view>

#include "core/text.h"
#include "snapshot/linux/missing_faults.h"

namespace stasis::snapshot {
namespace {

Error mismatch(const std::string& what) {
  return Error{Errc::kMismatch, 0, "this snapshot cannot run here: " + what};
}

Result<void> check_vcpus(const Manifest& manifest, const Capabilities& capabilities) {
  const std::size_t vcpus = manifest.machine.vcpus.size();
  if (vcpus == 0 || vcpus > capabilities.vcpus_max) {
    return mismatch("it has " + std::to_string(vcpus) + " vCPUs; this backend allows 1 to " +
                    std::to_string(capabilities.vcpus_max) + " (host's limit " +
                    std::to_string(capabilities.host_vcpus_max) + ", design's limit " +
                    std::to_string(kVcpusMax) + ")");
  }
  for (const VcpuState& state : manifest.machine.vcpus) {
    if (architecture_of(state) != capabilities.architecture) {
      return mismatch("it has a vCPU of architecture " +
                      std::string(name_of(architecture_of(state))));
    }
  }
  return {};
}

// The same limit as for a new guest: pages come as they are touched, but tables for all of them
// come at once.
Result<void> check_memory(const Manifest& manifest) {
  std::uint64_t bytes = 0;  // Cannot wrap: the manifest's rules bound it.
  for (const ManifestRegion& region : manifest.regions) {
    bytes += region.range.size;
  }
  const std::uint64_t host_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                                   static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  if (bytes > host_bytes) {
    return mismatch("the guest has " + describe_bytes(bytes) + " of memory, this host " +
                    describe_bytes(host_bytes));
  }
  return {};
}

Result<void> check_features(const Manifest& manifest, const Capabilities& capabilities) {
  const std::vector<std::string> missing = missing_cpu_features(manifest, capabilities);
  if (missing.empty()) {
    return {};
  }
  std::string names;
  for (const std::string& name : missing) {
    names += (names.empty() ? "" : ", ") + name;
  }
  return mismatch("the guest may use CPU features that this host lacks: " + names +
                  "; restore it on a host that has them");
}

Result<void> check_devices(const Manifest& manifest, const DeviceBus& bus) {
  const std::vector<Device*> devices = bus.devices();
  const std::span<const DeviceState> saved = saved_parts(manifest.machine.devices).devices;
  for (std::size_t i = 0; i < std::max(devices.size(), saved.size()); ++i) {
    const std::string have = i < devices.size() ? std::string(devices[i]->name()) : "none";
    const std::string want = i < saved.size() ? saved[i].name : "none";
    if (have != want) {
      std::string what = "device " + std::to_string(i) + " is '";
      what.append(want).append("' in the snapshot but the machine has '").append(have).append("'");
      return mismatch(what);
    }
  }
  return {};
}

Availability no(std::string name, std::string reason, std::string cure) {
  return {std::move(name), false, std::move(reason), std::move(cure)};
}

}  // namespace

std::vector<std::string> missing_cpu_features(const Manifest& manifest,
                                              const Capabilities& capabilities) {
  std::vector<std::string> have = capabilities.cpu_features;
  std::vector<std::string> need = manifest.cpu_features;
  std::sort(have.begin(), have.end());
  std::sort(need.begin(), need.end());
  std::vector<std::string> missing;
  std::set_difference(need.begin(), need.end(), have.begin(), have.end(),
                      std::back_inserter(missing));
  return missing;
}

Result<void> check_requirements(const Manifest& manifest, const Capabilities& capabilities,
                                const DeviceBus& bus, CpuCheck cpu) {
  if (manifest.architecture != capabilities.architecture) {
    return mismatch("it is of architecture " + std::string(name_of(manifest.architecture)) +
                    ", the " + std::string(name_of(capabilities.kind)) + " backend runs " +
                    std::string(name_of(capabilities.architecture)));
  }
  if (manifest.page_size_bytes != capabilities.page_size_bytes) {
    return mismatch("its pages have " + std::to_string(manifest.page_size_bytes) +
                    " bytes, this backend's " + std::to_string(capabilities.page_size_bytes));
  }
  STASIS_TRY(check_vcpus(manifest, capabilities));
  STASIS_TRY(check_memory(manifest));
  if (cpu == CpuCheck::kEnforce) {
    STASIS_TRY(check_features(manifest, capabilities));
  }
  // A guest that counted on a continuous counter must not see the host's jump. The other way round
  // is safe: it has been told to expect a jump, and none comes.
  if (manifest.clock_policy != capabilities.clock_policy &&
      manifest.clock_policy != ClockPolicy::kHostCounter) {
    return mismatch("its clock policy is " + std::string(name_of(manifest.clock_policy)) +
                    ", this backend can only offer " +
                    std::string(name_of(capabilities.clock_policy)));
  }
  const SavedParts parts = saved_parts(manifest.machine.devices);
  if (parts.controller != nullptr && !capabilities.interrupt_controller) {
    return mismatch("it has the interrupt controller '" + parts.controller->name + "', the " +
                    std::string(name_of(capabilities.kind)) + " backend has none");
  }
  return check_devices(manifest, bus);
}

bool faults_elsewhere(const Capabilities& capabilities) {
  return capabilities.kind == BackendKind::kHvfSim || capabilities.kind == BackendKind::kHvf;
}

Availability probe_missing_pages(const Capabilities& capabilities) {
  if (faults_elsewhere(capabilities)) {
    return no("userfaultfd",
              "the guest of the " + std::string(name_of(capabilities.kind)) +
                  " backend does not fault through this process's page table",
              "use --policy lazy or eager");
  }
  const auto features = internal::query_missing_faults();
  if (features) {
    return {"userfaultfd", true, "", ""};
  }
  const Error& error = features.error();
  return no("userfaultfd", error.to_string(),
            error.code == Errc::kNotSupported
                ? "use --policy lazy or eager"
                : "run as root, or set vm.unprivileged_userfaultfd=1");
}

Availability probe_moved_pages(const Capabilities& capabilities) {
  if (Availability missing = probe_missing_pages(capabilities); !missing.available) {
    return missing;
  }
  const auto features = internal::query_missing_faults();
  if (features && features->move) {
    return {"move", true, "", ""};
  }
  return no("move", "this kernel has no UFFDIO_MOVE", "use Linux 6.8 or later, or --policy reap");
}

}  // namespace stasis::snapshot
