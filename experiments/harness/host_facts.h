// What a row must say about where it was measured: the host and the build.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace stasis::experiments {

// Named facts in the order in which reports show them: "kernel" -> "Linux 6.18.0 x86_64". Nothing
// that identifies a machine or its user.
using HostFacts = std::vector<std::pair<std::string, std::string>>;

// `measured_path` is where snapshots are written: its file system and block device are part of the
// facts. Facts that this host does not have are left out.
HostFacts collect_host_facts(const std::string& measured_path);

// Which KVM this is, by the modules that are loaded: "vmx", "svm", "pvm", "none".
std::string kvm_kind();

// Why numbers of this build must not be quoted; empty if they may: RelWithDebInfo or Release
// without sanitizers.
std::string build_not_quotable_because();

}  // namespace stasis::experiments
