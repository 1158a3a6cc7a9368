// VcpuState <-> schemas/vcpu.capnp. Private to the codec: it names generated types.
#pragma once

#include <optional>
#include <string>

#include "core/machine.h"
#include "schemas/vcpu.capnp.h"

namespace stasis::snapshot::internal {

// What breaks a rule of the schema, for people; nothing if all is well.
std::optional<std::string> violation_in(const VcpuState& state);

void encode_vcpu(const VcpuState& state, schema::Vcpu::Builder out);
// Lengths of fixed lists and values of enumerations are checked here, the rest by violation_in().
// May throw kj::Exception, which the caller fences in.
Result<VcpuState> decode_vcpu(schema::Vcpu::Reader in);

}  // namespace stasis::snapshot::internal
