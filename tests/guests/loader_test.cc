#include "guests/loader.h"

#include <array>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "guests/doorbell_device.h"
#include "guests/x86_boot.h"
#include "tests/guests/elf_builder.h"
#include "tests/guests/guest_fixture.h"

namespace stasis::guests {
namespace {

using test::ElfBuilder;
using test::make_memory;
using ::testing::HasSubstr;

constexpr std::uint64_t kPageBytes = 4096;

// Where a virtual address leads, as the processor finds it: Intel SDM vol. 3A, 4.5.4.
struct Translation {
  std::uint64_t address = 0;
  bool writable = true, user = true;
};
std::optional<Translation> walk(const GuestMemory& memory, std::uint64_t root,
                                std::uint64_t address) {
  Translation result;
  std::uint64_t table = root;
  for (int level = 3; level >= 0; --level) {
    const int shift = 12 + 9 * level;
    const std::uint64_t index = (address >> shift) & 511;
    const auto entry = must(memory.read_object<std::uint64_t>(Gpa{table + 8 * index}));
    if ((entry & 1) == 0) {
      return std::nullopt;
    }
    result.writable = result.writable && (entry & 2) != 0;
    result.user = result.user && (entry & 4) != 0;
    const std::uint64_t base = entry & 0x000F'FFFF'FFFF'F000;
    if (level == 0 || (entry & 128) != 0) {
      const std::uint64_t mask = (std::uint64_t{1} << shift) - 1;
      result.address = (base & ~mask) | (address & mask);
      return result;
    }
    table = base;
  }
  return std::nullopt;
}

class LoaderTest : public ::testing::Test {
 protected:
  const X86VcpuState& vcpu(const LoadedGuest& guest, std::size_t index = 0) {
    return std::get<X86VcpuState>(guest.vcpus[index]);
  }
  abi::BootInfo boot_info(const GuestMemory& memory) {
    return must(memory.read_object<abi::BootInfo>(Gpa{abi::kBootInfoAddress}));
  }

  std::vector<std::byte> file_ = ElfBuilder().build();
};

TEST_F(LoaderTest, SegmentsLieWhereTheImageSaysAndBssIsZero) {
  const auto memory = make_memory(8);
  const LoadedGuest guest = must(load_guest(file_, *memory, {}));
  EXPECT_EQ(must(memory->read_object<std::uint8_t>(Gpa{ElfBuilder::kCode})), 1);
  EXPECT_EQ(must(memory->read_object<std::uint8_t>(Gpa{ElfBuilder::kCode + 0x7f})), 0x80);
  EXPECT_EQ(must(memory->read_object<std::uint8_t>(Gpa{ElfBuilder::kData})), 0x81);
  EXPECT_EQ(must(memory->read_object<std::uint8_t>(Gpa{ElfBuilder::kData + 0x80})), 0);
  EXPECT_EQ(guest.entry, Gpa{ElfBuilder::kCode + 4});
  EXPECT_EQ(guest.image, (GpaRange{Gpa{ElfBuilder::kCode}, 0x3000}));
  EXPECT_EQ(guest.heap.begin, Gpa{ElfBuilder::kCode + 0x3000});
  EXPECT_EQ(guest.heap.end(), Gpa{8 * abi::kMiB});
}

TEST_F(LoaderTest, BootInfoTellsTheGuestWhatItHas) {
  const auto memory = make_memory(8);
  LoadOptions options;
  options.vcpus = 3;
  options.arguments = "size=200 seed=1";
  options.counter_khz = 2'400'000;
  options.cpu_features = {"avx", "avx512f", "sse2"};
  must(load_guest(file_, *memory, options));
  const abi::BootInfo info = boot_info(*memory);
  EXPECT_EQ(info.magic, abi::kMagic);
  EXPECT_EQ(info.version, abi::kVersion);
  EXPECT_EQ(info.size_bytes, sizeof(abi::BootInfo));
  EXPECT_EQ(info.vcpu_count, 3);
  EXPECT_EQ(info.mailbox, abi::kMailboxAddress);
  EXPECT_EQ(info.memory_range_count, 1);
  EXPECT_EQ(info.memory[0].end, 8 * abi::kMiB);
  EXPECT_EQ(info.memory[1].end, 0);
  EXPECT_EQ(info.image.begin, ElfBuilder::kCode);
  EXPECT_EQ(info.heap[0].begin, ElfBuilder::kCode + 0x3000);
  EXPECT_EQ(info.heap[0].end, 8 * abi::kMiB);
  EXPECT_EQ(info.heap[1].end, 0);
  EXPECT_EQ(info.counter_khz, 2'400'000);
  EXPECT_EQ(info.cpu_flags, abi::kCpuAvx | abi::kCpuAvx512);
  EXPECT_STREQ(info.arguments, "size=200 seed=1");
  EXPECT_EQ(info.argument_bytes, 15);
}

TEST_F(LoaderTest, MemoryAboveThreeGibIsASecondRange) {
  const auto memory = make_memory(4096);
  const LoadedGuest guest = must(load_guest(file_, *memory, {}));
  const abi::BootInfo info = boot_info(*memory);
  EXPECT_EQ(info.memory_range_count, 2);
  EXPECT_EQ(info.heap[0].end, 3 * abi::kGiB);
  EXPECT_EQ(info.heap[1].begin, 4 * abi::kGiB);
  EXPECT_EQ(info.heap[1].end, 5 * abi::kGiB);
  const std::uint64_t root = vcpu(guest).system.cr3;
  EXPECT_TRUE(walk(*memory, root, 3 * abi::kGiB - 1).has_value());
  EXPECT_FALSE(walk(*memory, root, 3 * abi::kGiB).has_value());
  EXPECT_EQ(walk(*memory, root, 5 * abi::kGiB - 8)->address, 5 * abi::kGiB - 8);
  EXPECT_FALSE(walk(*memory, root, 5 * abi::kGiB).has_value());
}

TEST_F(LoaderTest, PageTablesAreTheIdentityWithTheRightsOfTheMemoryMap) {
  const auto memory = make_memory(8);
  LoadOptions options;
  options.vcpus = 32;
  const LoadedGuest guest = must(load_guest(file_, *memory, options));
  const std::uint64_t root = vcpu(guest).system.cr3;
  const auto is_user = [](std::uint64_t page) {
    return page == abi::kBootInfoAddress ||
           (page >= abi::kMailboxAddress && page < abi::kMailboxAddress + sizeof(abi::Mailbox)) ||
           page >= abi::kStacksAddress;
  };
  for (std::uint64_t page = 0; page < 8 * abi::kMiB; page += kPageBytes) {
    const std::optional<Translation> found = walk(*memory, root, page);
    if (!found.has_value()) {
      EXPECT_LT(page, abi::kSystemEnd) << page;
      EXPECT_FALSE(is_user(page)) << page;
      continue;
    }
    EXPECT_EQ(found->address, page);
    EXPECT_EQ(found->user, is_user(page)) << page;
    EXPECT_EQ(found->writable, page != abi::kBootInfoAddress) << page;
  }
  EXPECT_FALSE(walk(*memory, root, 0).has_value()) << "null pointers fault";
  EXPECT_FALSE(walk(*memory, root, 8 * abi::kMiB).has_value());
  const std::optional<Translation> doorbell = walk(*memory, root, abi::kDoorbellMmioAddress);
  ASSERT_TRUE(doorbell.has_value());
  EXPECT_EQ(doorbell->address, abi::kDoorbellMmioAddress);
  EXPECT_TRUE(doorbell->user && doorbell->writable);
  EXPECT_FALSE(walk(*memory, root, 0xFEE00000).has_value());
}

TEST_F(LoaderTest, IoBitmapAllowsExactlyTheDoorbellPorts) {
  const auto memory = make_memory(8);
  LoadOptions options;
  options.vcpus = 2;
  const LoadedGuest guest = must(load_guest(file_, *memory, options));
  for (std::size_t index = 0; index < 2; ++index) {
    const X86Segment& tr = vcpu(guest, index).system.tr;
    const auto bitmap = tr.base + must(memory->read_object<std::uint16_t>(Gpa{tr.base + 102}));
    for (std::uint32_t port = 0; port < 0x10000; ++port) {
      // The processor refuses what lies beyond the limit, and looks at two bytes at a time.
      bool allowed = false;
      if (const std::uint64_t byte = bitmap + port / 8; byte + 1 - tr.base <= tr.limit) {
        allowed = (must(memory->read_object<std::uint8_t>(Gpa{byte})) >> (port % 8) & 1) == 0;
      }
      const bool is_doorbell =
          port >= abi::kDoorbellPort && port < abi::kDoorbellPort + abi::kDoorbellWindowBytes;
      ASSERT_EQ(allowed, is_doorbell) << "port " << port;
    }
  }
}

TEST_F(LoaderTest, EveryVcpuStartsAtTheEntryInRingThreeOnItsOwnStack) {
  const auto memory = make_memory(8);
  LoadOptions options;
  options.vcpus = 32;
  const LoadedGuest guest = must(load_guest(file_, *memory, options));
  ASSERT_EQ(guest.vcpus.size(), 32);
  for (std::uint32_t index = 0; index < 32; ++index) {
    const X86VcpuState& state = vcpu(guest, index);
    EXPECT_EQ(state.general.rip, ElfBuilder::kCode + 4);
    EXPECT_EQ(state.general.rdi, abi::kBootInfoAddress);
    EXPECT_EQ(state.general.rsi, index);
    EXPECT_EQ(state.general.rsp, abi::stack_top(index) - 8);
    EXPECT_EQ(state.system.cs.selector & 3, 3);
    EXPECT_EQ(state.system.ss.attributes >> 5 & 3, 3U) << "DPL 3";
    // The task register agrees with its descriptor, and RSP0 with the trap frame's slot.
    const X86Segment& tr = state.system.tr;
    const auto descriptor = must(memory->read_object<std::array<std::uint64_t, 2>>(
        Gpa{state.system.gdt.base + tr.selector}));
    EXPECT_EQ((descriptor[0] >> 16 & 0xffffff) | (descriptor[0] >> 56 << 24) | descriptor[1] << 32,
              tr.base);
    EXPECT_EQ(descriptor[0] & 0xffff, tr.limit);
    EXPECT_LE(tr.selector + 15, state.system.gdt.limit);
    EXPECT_EQ(must(memory->read_object<std::uint64_t>(Gpa{tr.base + 4})),
              abi::kTrapFramesAddress + (index + 1) * abi::kTrapFrameBytes);
  }
  EXPECT_LE(abi::stack_top(31), abi::kImageAddress);
}

TEST_F(LoaderTest, ExtendedRegistersAreOnOnlyWhereTheHostHasThem) {
  constexpr std::uint64_t kOsXsave = 1 << 18;
  const auto memory = make_memory(8);
  const LoadedGuest plain = must(load_guest(file_, *memory, {}));
  EXPECT_EQ(vcpu(plain).system.cr4 & kOsXsave, 0);
  EXPECT_TRUE(vcpu(plain).xcrs.empty());
  EXPECT_EQ(boot_info(*memory).cpu_flags, 0);
  LoadOptions options;
  options.cpu_features = {"avx"};
  const LoadedGuest avx = must(load_guest(file_, *memory, options));
  EXPECT_NE(vcpu(avx).system.cr4 & kOsXsave, 0);
  EXPECT_EQ(vcpu(avx).xcrs, (std::vector<X86Xcr>{{.index = 0, .value = 0x7}}));
  EXPECT_EQ(boot_info(*memory).cpu_flags, abi::kCpuAvx);
  options.cpu_features = {"avx", "avx512f"};
  const LoadedGuest avx512 = must(load_guest(file_, *memory, options));
  EXPECT_EQ(vcpu(avx512).xcrs, (std::vector<X86Xcr>{{.index = 0, .value = 0xE7}}));
  EXPECT_EQ(boot_info(*memory).cpu_flags, abi::kCpuAvx | abi::kCpuAvx512);
}

TEST_F(LoaderTest, OnlyWhatTheGuestNeedsIsTouched) {
  const auto memory = make_memory(64);
  memory->host_writes().clear();
  must(load_guest(file_, *memory, {}));
  const GpaRanges written = memory->host_writes().collect();
  EXPECT_LT(total_bytes(written), 128 * abi::kKiB);
  EXPECT_FALSE(contains(written, Gpa{0}));
  EXPECT_FALSE(contains(written, Gpa{abi::kStacksAddress}));
}

struct BadLoad {
  const char* name;
  void (*spoil)(ElfBuilder&, LoadOptions&);
  Errc code;
  const char* words;
};
void PrintTo(const BadLoad& bad, std::ostream* out) {
  *out << bad.name;
}

class LoaderRefusalTest : public ::testing::TestWithParam<BadLoad> {};

TEST_P(LoaderRefusalTest, SaysWhyAndLeavesMemoryUntouched) {
  ElfBuilder builder;
  LoadOptions options;
  options.name = "dir/guest.elf";
  GetParam().spoil(builder, options);
  const auto memory = make_memory(8);
  memory->host_writes().clear();
  const std::vector<std::byte> file = builder.build();
  const Result<LoadedGuest> guest = load_guest(file, *memory, options);
  ASSERT_FALSE(guest);
  EXPECT_EQ(guest.error().code, GetParam().code) << guest.error().message;
  EXPECT_THAT(guest.error().message, HasSubstr("dir/guest.elf: "));
  EXPECT_THAT(guest.error().message, HasSubstr(GetParam().words));
  EXPECT_TRUE(memory->host_writes().collect().empty());
}

INSTANTIATE_TEST_SUITE_P(
    All, LoaderRefusalTest,
    ::testing::Values(
        BadLoad{"Garbage", [](ElfBuilder& b, LoadOptions&) { b.header.e_ident[1] = 0; },
                Errc::kCorruption, "not an ELF"},
        BadLoad{"Arm64", [](ElfBuilder& b, LoadOptions&) { b.header.e_machine = EM_AARCH64; },
                Errc::kNotSupported, "arm64"},
        BadLoad{"InReservedArea",
                [](ElfBuilder& b, LoadOptions&) {
                  b.programs[1].p_vaddr = b.programs[1].p_paddr = abi::kImageAddress - 0x1000;
                  b.programs[1].p_memsz = 0x80;
                },
                Errc::kOutOfRange, "0x3ff000"},
        BadLoad{"OverThePageTables",
                [](ElfBuilder& b, LoadOptions&) {
                  b.programs[1].p_vaddr = b.programs[1].p_paddr = kX86PageTablesAddress;
                },
                Errc::kOutOfRange, "reserved area"},
        BadLoad{"BeyondMemory",
                [](ElfBuilder& b, LoadOptions&) {
                  b.programs[1].p_vaddr = b.programs[1].p_paddr = 8 * abi::kMiB - 0x1000;
                },
                Errc::kOutOfRange, "give the guest more memory"},
        BadLoad{"AbsurdBss",
                [](ElfBuilder& b, LoadOptions&) { b.programs[1].p_memsz = std::uint64_t{1} << 60; },
                Errc::kOutOfRange, "outside guest memory"},
        BadLoad{"NoVcpus", [](ElfBuilder&, LoadOptions& o) { o.vcpus = 0; }, Errc::kInvalidArgument,
                "0 vCPUs"},
        BadLoad{"TooManyVcpus", [](ElfBuilder&, LoadOptions& o) { o.vcpus = 33; },
                Errc::kInvalidArgument, "33 vCPUs"},
        BadLoad{"LongArguments",
                [](ElfBuilder&, LoadOptions& o) {
                  o.arguments = std::string(abi::kArgumentBytesMax, 'x');
                },
                Errc::kInvalidArgument, "2048 bytes"},
        BadLoad{"NulInArguments",
                [](ElfBuilder&, LoadOptions& o) { o.arguments = std::string("a\0b", 3); },
                Errc::kInvalidArgument, "NUL"}),
    [](const ::testing::TestParamInfo<BadLoad>& param) { return param.param.name; });

TEST_F(LoaderTest, MemoryOfAnotherLayoutIsRefused) {
  const RegionSpec shifted{.range = GpaRange{Gpa{2 * abi::kMiB}, 16 * abi::kMiB}};
  const auto memory = must(GuestMemory::create(std::span(&shifted, 1), 4096));
  EXPECT_THAT(load_guest(file_, *memory, {}).error().message, HasSubstr("guest_memory_regions"));
}

TEST_F(LoaderTest, InitialMachineStateHasTheDevicesInBusOrder) {
  const auto memory = make_memory(8);
  LoadOptions options;
  options.vcpus = 2;
  const LoadedGuest guest = must(load_guest(file_, *memory, options));
  DeviceBus bus;
  const auto device = std::make_shared<DoorbellDevice>(DoorbellConfig{});
  must(attach_doorbell(bus, device, guest.architecture));
  const MachineState state = must(initial_machine_state(guest, bus));
  EXPECT_EQ(state.vcpus, guest.vcpus);
  EXPECT_EQ(state.activities, std::vector<VcpuActivity>(2, VcpuActivity::kRunning));
  EXPECT_EQ(state.wake_pending, std::vector<bool>(2, false));
  ASSERT_EQ(state.devices.size(), 1);
  EXPECT_EQ(state.devices[0].name, DoorbellDevice::kName);
}

}  // namespace
}  // namespace stasis::guests
