#include "kvm/host_cpuid.h"

#include <cpuid.h>

#include <algorithm>
#include <array>
#include <optional>

#if __has_include(<sys/platform/x86.h>)
#define _Bool bool  // NOLINT: the header is for C; clang's strict C++ does not know the name.
#include <sys/platform/x86.h>
#undef _Bool
#define STASIS_HAVE_LIBC_CPUID 1
#endif

namespace stasis::kvm {
namespace {

constexpr std::uint64_t kAvx = 0x6;        // SSE and AVX state.
constexpr std::uint64_t kAvx512 = 0xe6;    // And opmask, ZMM_Hi256, Hi16_ZMM.
constexpr std::uint64_t kPkru = 0x200;     // PKRU.
constexpr std::uint64_t kAmx = 0x60000;    // XTILECFG, XTILEDATA.
constexpr std::uint32_t kOsxsaveBit = 27;  // Leaf 1 ECX: the operating system has enabled XSAVE.

enum class Register : std::uint8_t { kEax, kEbx, kEcx, kEdx };

struct Feature {
  std::string_view name;
  std::uint32_t function;
  std::uint32_t index;
  Register reg;
  std::uint32_t bit;
  std::uint64_t xcr0;  // Components that must be enabled.
};

// What user code can use; system features (VMX, MTRR, ...) are no requirement of a guest's program.
// SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E.
constexpr std::array kFeatures = std::to_array<Feature>({
    {"sse2", 1, 0, Register::kEdx, 26, 0},
    {"clflush", 1, 0, Register::kEdx, 19, 0},
    {"sse3", 1, 0, Register::kEcx, 0, 0},
    {"pclmulqdq", 1, 0, Register::kEcx, 1, 0},
    {"ssse3", 1, 0, Register::kEcx, 9, 0},
    {"fma", 1, 0, Register::kEcx, 12, kAvx},
    {"cx16", 1, 0, Register::kEcx, 13, 0},
    {"sse4_1", 1, 0, Register::kEcx, 19, 0},
    {"sse4_2", 1, 0, Register::kEcx, 20, 0},
    {"movbe", 1, 0, Register::kEcx, 22, 0},
    {"popcnt", 1, 0, Register::kEcx, 23, 0},
    {"aes", 1, 0, Register::kEcx, 25, 0},
    {"xsave", 1, 0, Register::kEcx, 26, 0},
    {"avx", 1, 0, Register::kEcx, 28, kAvx},
    {"f16c", 1, 0, Register::kEcx, 29, kAvx},
    {"rdrand", 1, 0, Register::kEcx, 30, 0},
    {"fsgsbase", 7, 0, Register::kEbx, 0, 0},
    {"bmi1", 7, 0, Register::kEbx, 3, 0},
    {"avx2", 7, 0, Register::kEbx, 5, kAvx},
    {"bmi2", 7, 0, Register::kEbx, 8, 0},
    {"erms", 7, 0, Register::kEbx, 9, 0},
    {"rtm", 7, 0, Register::kEbx, 11, 0},
    {"avx512f", 7, 0, Register::kEbx, 16, kAvx512},
    {"avx512dq", 7, 0, Register::kEbx, 17, kAvx512},
    {"rdseed", 7, 0, Register::kEbx, 18, 0},
    {"adx", 7, 0, Register::kEbx, 19, 0},
    {"avx512ifma", 7, 0, Register::kEbx, 21, kAvx512},
    {"clflushopt", 7, 0, Register::kEbx, 23, 0},
    {"clwb", 7, 0, Register::kEbx, 24, 0},
    {"avx512cd", 7, 0, Register::kEbx, 28, kAvx512},
    {"sha_ni", 7, 0, Register::kEbx, 29, 0},
    {"avx512bw", 7, 0, Register::kEbx, 30, kAvx512},
    {"avx512vl", 7, 0, Register::kEbx, 31, kAvx512},
    {"avx512vbmi", 7, 0, Register::kEcx, 1, kAvx512},
    {"pku", 7, 0, Register::kEcx, 3, kPkru},
    {"avx512_vbmi2", 7, 0, Register::kEcx, 6, kAvx512},
    {"gfni", 7, 0, Register::kEcx, 8, 0},
    {"vaes", 7, 0, Register::kEcx, 9, kAvx},
    {"vpclmulqdq", 7, 0, Register::kEcx, 10, kAvx},
    {"avx512_vnni", 7, 0, Register::kEcx, 11, kAvx512},
    {"avx512_bitalg", 7, 0, Register::kEcx, 12, kAvx512},
    {"avx512_vpopcntdq", 7, 0, Register::kEcx, 14, kAvx512},
    {"rdpid", 7, 0, Register::kEcx, 22, 0},
    {"cldemote", 7, 0, Register::kEcx, 25, 0},
    {"movdiri", 7, 0, Register::kEcx, 27, 0},
    {"movdir64b", 7, 0, Register::kEcx, 28, 0},
    {"fsrm", 7, 0, Register::kEdx, 4, 0},
    {"avx512_vp2intersect", 7, 0, Register::kEdx, 8, kAvx512},
    {"serialize", 7, 0, Register::kEdx, 14, 0},
    {"amx_bf16", 7, 0, Register::kEdx, 22, kAmx},
    {"avx512_fp16", 7, 0, Register::kEdx, 23, kAvx512},
    {"amx_tile", 7, 0, Register::kEdx, 24, kAmx},
    {"amx_int8", 7, 0, Register::kEdx, 25, kAmx},
    {"avx_vnni", 7, 1, Register::kEax, 4, kAvx},
    {"avx512_bf16", 7, 1, Register::kEax, 5, kAvx512},
    {"lahf_lm", 0x80000001, 0, Register::kEcx, 0, 0},
    {"abm", 0x80000001, 0, Register::kEcx, 5, 0},
    {"sse4a", 0x80000001, 0, Register::kEcx, 6, 0},
    {"prefetchw", 0x80000001, 0, Register::kEcx, 8, 0},
    {"fma4", 0x80000001, 0, Register::kEcx, 16, kAvx},
    {"tbm", 0x80000001, 0, Register::kEcx, 21, 0},
    {"syscall", 0x80000001, 0, Register::kEdx, 11, 0},
    {"pdpe1gb", 0x80000001, 0, Register::kEdx, 26, 0},
    {"rdtscp", 0x80000001, 0, Register::kEdx, 27, 0},
});

std::uint32_t value_of(const X86CpuidEntry& leaf, Register reg) {
  switch (reg) {
    case Register::kEax:
      return leaf.eax;
    case Register::kEbx:
      return leaf.ebx;
    case Register::kEcx:
      return leaf.ecx;
    case Register::kEdx:
      return leaf.edx;
  }
  return 0;
}

#ifdef STASIS_HAVE_LIBC_CPUID
std::optional<X86CpuidEntry> libc_cpuid(std::uint32_t function, std::uint32_t index) {
  std::uint32_t leaf = 0;
  if (function == 1 && index == 0) {
    leaf = CPUID_INDEX_1;
  } else if (function == 7 && index == 0) {
    leaf = CPUID_INDEX_7;
  } else if (function == 7 && index == 1) {
    leaf = CPUID_INDEX_7_ECX_1;
  } else if (function == 0x80000001 && index == 0) {
    leaf = CPUID_INDEX_80000001;
  } else if (function == 0x80000008 && index == 0) {
    leaf = CPUID_INDEX_80000008;
  } else {
    return std::nullopt;
  }
  const cpuid_feature* found = __x86_get_cpuid_feature_leaf(leaf);
  return X86CpuidEntry{function,
                       index,
                       0,
                       found->cpuid_array[cpuid_register_index_eax],
                       found->cpuid_array[cpuid_register_index_ebx],
                       found->cpuid_array[cpuid_register_index_ecx],
                       found->cpuid_array[cpuid_register_index_edx]};
}
#else
std::optional<X86CpuidEntry> libc_cpuid(std::uint32_t, std::uint32_t) {
  return std::nullopt;
}
#endif

std::uint32_t ask_last_leaf(std::uint32_t level) {
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;
  __cpuid(level, eax, ebx, ecx, edx);
  return eax;
}

// Asked once: each execution of CPUID in a virtual machine traps, which takes microseconds.
std::uint32_t last_leaf(std::uint32_t level) {
  static const std::array<std::uint32_t, 2> last = {ask_last_leaf(0), ask_last_leaf(0x80000000U)};
  return last[level == 0 ? 0 : 1];
}

}  // namespace

X86CpuidEntry host_cpuid(std::uint32_t function, std::uint32_t index) {
  if (const auto known = libc_cpuid(function, index)) {
    return *known;
  }
  X86CpuidEntry leaf{function, index, 0, 0, 0, 0, 0};
  if (function > last_leaf(function & 0x80000000U)) {
    return leaf;
  }
  __cpuid_count(function, index, leaf.eax, leaf.ebx, leaf.ecx, leaf.edx);
  return leaf;
}

std::uint64_t host_xcr0() {
  if (((host_cpuid(1, 0).ecx >> kOsxsaveBit) & 1U) == 0) {
    return 0;
  }
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (std::uint64_t{high} << 32U) | low;
}

const X86CpuidEntry* find_leaf(std::span<const X86CpuidEntry> cpuid, std::uint32_t function,
                               std::uint32_t index) {
  const auto found = std::find_if(cpuid.begin(), cpuid.end(), [&](const X86CpuidEntry& entry) {
    return entry.function == function && entry.index == index;
  });
  return found == cpuid.end() ? nullptr : &*found;
}

std::vector<std::string> features_of(std::span<const X86CpuidEntry> cpuid, std::uint64_t xcr0) {
  std::vector<std::string> names;
  for (const Feature& feature : kFeatures) {
    const X86CpuidEntry* leaf = find_leaf(cpuid, feature.function, feature.index);
    const bool present =
        leaf != nullptr && ((value_of(*leaf, feature.reg) >> feature.bit) & 1U) != 0;
    if (present && (feature.xcr0 & ~xcr0) == 0) {
      names.emplace_back(feature.name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<X86CpuidEntry> host_feature_leaves() {
  return {host_cpuid(1, 0), host_cpuid(7, 0), host_cpuid(7, 1), host_cpuid(0x80000001, 0)};
}

std::string_view xsave_component_name(std::uint32_t component) {
  constexpr std::array<std::string_view, 20> kNames = {"x87",
                                                       "SSE",
                                                       "AVX",
                                                       "MPX bound registers",
                                                       "MPX configuration",
                                                       "AVX-512 opmask",
                                                       "AVX-512 ZMM_Hi256",
                                                       "AVX-512 Hi16_ZMM",
                                                       "processor trace",
                                                       "protection keys",
                                                       "PASID",
                                                       "CET user",
                                                       "CET supervisor",
                                                       "hardware duty cycle",
                                                       "user interrupts",
                                                       "last branch records",
                                                       "hardware P-states",
                                                       "AMX tile configuration",
                                                       "AMX tile data",
                                                       "APX"};
  return component < kNames.size() ? kNames[component] : "unknown";
}

}  // namespace stasis::kvm
