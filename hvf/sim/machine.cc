// The memory of a VM: the framework's bookkeeping, the shared memory and the translation tables
// move together.
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <vector>

#include "core/text.h"
#include "hvf/sim/process.h"

namespace stasis::hvf::sim {
namespace {

std::size_t bytes_of(hv_ipa_granule_t granule) {
  return granule == HV_IPA_GRANULE_4KB ? 0x1000 : 0x4000;
}

bool is_mapped_in_host(std::byte* host, std::size_t size) {
  std::vector<unsigned char> residency(size / 4096);
  return ::mincore(host, size, residency.data()) == 0;
}

}  // namespace

Machine::Machine(const hv_vm_config_s& config, std::unique_ptr<Engine> processor)
    : engine(std::move(processor)), memory(bytes_of(config.granule), config.ipa_bits) {}

Result<hv_return_t> Machine::map(std::byte* host, hv_ipa_t ipa, std::size_t size,
                                 hv_memory_flags_t flags) {
  const auto address = std::bit_cast<std::uintptr_t>(host);
  // One piece of the machine's RAM cannot show two addresses of this process, so a second mapping
  // of the same host memory would take it from the first.
  const bool is_taken = !memory.find_host(address, size).empty();
  if (const hv_return_t code = memory.map(address, ipa, size, flags); code != HV_SUCCESS) {
    return code;
  }
  if (is_taken || !is_mapped_in_host(host, size)) {
    STASIS_CHECK(memory.unmap(ipa, size) == HV_SUCCESS);
    return is_taken ? hv_return_t{HV_UNSUPPORTED} : hv_return_t{HV_BAD_ARGUMENT};
  }
  const Result<std::uint64_t> adopted = engine->memory().adopt(host, size);
  Result<void> mapped =
      adopted ? tables.map(ipa, *adopted, size, flags) : Result<void>(adopted.error());
  if (!mapped) {
    tables.unmap(ipa, size);
    STASIS_CHECK(memory.unmap(ipa, size) == HV_SUCCESS);
    return std::move(mapped).error();
  }
  return hv_return_t{HV_SUCCESS};
}

Result<hv_return_t> Machine::unmap(hv_ipa_t ipa, std::size_t size) {
  if (const hv_return_t code = memory.unmap(ipa, size); code != HV_SUCCESS) {
    return code;
  }
  tables.unmap(ipa, size);
  STASIS_TRY(forget_translations());
  return hv_return_t{HV_SUCCESS};
}

Result<hv_return_t> Machine::protect(hv_ipa_t ipa, std::size_t size, hv_memory_flags_t flags) {
  if (const hv_return_t code = memory.protect(ipa, size, flags); code != HV_SUCCESS) {
    return code;
  }
  if (tables.protect(ipa, size, flags)) {
    STASIS_TRY(forget_translations());
  }
  return hv_return_t{HV_SUCCESS};
}

Result<void> Machine::forget_translations() {
  translations.fetch_add(1, std::memory_order_seq_cst);
  const bool is_used = std::ranges::any_of(vcpus, [](const auto& vcpu) {
    return vcpu != nullptr && vcpu->in_guest.load(std::memory_order_seq_cst);
  });
  return is_used ? engine->flush_tlbs() : Result<void>();
}

Result<hv_return_t> Machine::forget_code(std::uintptr_t host, std::size_t size) {
  constexpr std::uint64_t kWord = 8;
  for (const Stage2::HostPiece& piece : memory.find_host(host, size)) {
    const std::uint64_t begin = align_down(tables.machine_address(piece.ipa), kWord);
    const std::uint64_t end =
        align_up(tables.machine_address(piece.ipa + piece.size - 1) + 1, kWord);
    STASIS_TRY(engine->rewrite(begin, end - begin));
  }
  return hv_return_t{HV_SUCCESS};
}

}  // namespace stasis::hvf::sim
