#include "tests/snapshot/samples.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <utility>

#include "core/check.h"
#include "snapshot/manifest_codec.h"

namespace stasis::snapshot {
namespace {

std::uint64_t below(Random& random, std::uint64_t limit) {
  return random() % limit;
}

bool coin(Random& random) {
  return below(random, 2) == 1;
}

std::string random_text(Random& random, std::size_t least, std::size_t most) {
  std::string text(least + below(random, most - least + 1), ' ');
  for (char& c : text) {
    c = static_cast<char>('a' + below(random, 26));
  }
  return text;
}

template <typename Integer>
std::vector<Integer> ascending(Random& random, std::size_t most) {
  std::set<Integer> values;
  const std::size_t count = below(random, most + 1);
  while (values.size() < count) {
    values.insert(static_cast<Integer>(random()));
  }
  return {values.begin(), values.end()};
}

void randomize(Random& random, std::span<std::byte> bytes) {
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random());
  }
}

X86Segment random_segment(Random& random) {
  return {random(), static_cast<std::uint32_t>(random()), static_cast<std::uint16_t>(random()),
          static_cast<std::uint32_t>(random())};
}

X86PendingEvents random_events(Random& random) {
  X86PendingEvents events;
  for (bool* const flag :
       {&events.exception_injected, &events.exception_pending, &events.exception_has_error_code,
        &events.exception_has_payload, &events.interrupt_injected, &events.interrupt_soft,
        &events.nmi_injected, &events.nmi_pending, &events.nmi_masked, &events.smm_active,
        &events.smi_pending, &events.smm_inside_nmi, &events.smi_latched_init,
        &events.triple_fault_pending}) {
    *flag = coin(random);
  }
  for (std::uint8_t* const byte :
       {&events.exception_vector, &events.interrupt_vector, &events.interrupt_shadow}) {
    *byte = static_cast<std::uint8_t>(random());
  }
  events.exception_error_code = static_cast<std::uint32_t>(random());
  events.exception_payload = random();
  events.sipi_vector = static_cast<std::uint32_t>(random());
  return events;
}

}  // namespace

X86VcpuState random_x86_state(Random& random) {
  X86VcpuState state;
  X86GeneralRegisters& g = state.general;
  for (std::uint64_t* const value :
       {&g.rax, &g.rbx, &g.rcx, &g.rdx, &g.rsi, &g.rdi, &g.rsp, &g.rbp, &g.r8, &g.r9, &g.r10,
        &g.r11, &g.r12, &g.r13, &g.r14, &g.r15, &g.rip, &g.rflags}) {
    *value = random();
  }
  X86SystemRegisters& s = state.system;
  for (X86Segment* const segment : {&s.cs, &s.ds, &s.es, &s.fs, &s.gs, &s.ss, &s.tr, &s.ldt}) {
    *segment = random_segment(random);
  }
  s.gdt = {random(), static_cast<std::uint16_t>(random())};
  s.idt = {random(), static_cast<std::uint16_t>(random())};
  for (std::uint64_t* const value :
       {&s.cr0, &s.cr2, &s.cr3, &s.cr4, &s.cr8, &s.efer, &s.apic_base}) {
    *value = random();
  }
  std::ranges::generate(s.interrupt_bitmap, std::ref(random));
  std::ranges::generate(state.debug.db, std::ref(random));
  state.debug.dr6 = random();
  state.debug.dr7 = random();
  state.events = random_events(random);
  state.mp_state = static_cast<X86MpState>(below(random, 5));
  state.xsave.resize(below(random, 3000));
  randomize(random, state.xsave);
  for (const auto index : ascending<std::uint32_t>(random, 3)) {
    state.xcrs.push_back({index, random()});
  }
  for (const auto index : ascending<std::uint32_t>(random, 40)) {
    state.msrs.push_back({index, random()});
  }
  for (std::uint64_t i = below(random, 20); i != 0; --i) {
    const auto word = [&] { return static_cast<std::uint32_t>(random()); };
    state.cpuid.push_back({word(), word(), word(), word(), word(), word(), word()});
  }
  state.tsc = random();
  state.tsc_khz = static_cast<std::uint32_t>(random());
  return state;
}

Arm64VcpuState random_arm64_state(Random& random) {
  Arm64VcpuState state;
  std::ranges::generate(state.x, std::ref(random));
  for (std::uint64_t* const value :
       {&state.pc, &state.pstate, &state.sp_el0, &state.sp_el1, &state.fpcr, &state.fpsr}) {
    *value = random();
  }
  for (Arm64Vector& vector : state.q) {
    vector = {random(), random()};
  }
  for (const auto encoding : ascending<std::uint16_t>(random, 60)) {
    state.system.push_back({encoding, random()});
  }
  for (const auto encoding : ascending<std::uint16_t>(random, 9)) {
    state.gic_cpu_interface.push_back({encoding, random()});
  }
  state.virtual_timer = {random(), coin(random)};
  state.irq_pending = coin(random);
  state.fiq_pending = coin(random);
  state.power = static_cast<Arm64PowerState>(below(random, 3));
  for (const auto offset : ascending<std::uint16_t>(random, 5)) {
    state.gic_redistributor.push_back({offset, random()});
  }
  return state;
}

ToyVcpuState random_toy_state(Random& random) {
  ToyVcpuState state;
  std::ranges::generate(state.r, std::ref(random));
  state.pc = random();
  state.instructions = random();
  state.halted = coin(random);
  return state;
}

MachineState random_machine(Random& random, Architecture architecture, std::size_t vcpus) {
  MachineState machine;
  for (std::size_t i = 0; i < vcpus; ++i) {
    switch (architecture) {
      case Architecture::kX86_64:
        machine.vcpus.emplace_back(random_x86_state(random));
        break;
      case Architecture::kArm64:
        machine.vcpus.emplace_back(random_arm64_state(random));
        break;
      case Architecture::kToy:
        machine.vcpus.emplace_back(random_toy_state(random));
        break;
    }
    machine.activities.push_back(static_cast<VcpuActivity>(below(random, 3)));
    machine.wake_pending.push_back(coin(random));
  }
  for (std::uint64_t i = below(random, 4); i != 0; --i) {
    DeviceState device{"device" + std::to_string(i), static_cast<std::uint32_t>(i), {}};
    device.bytes.resize(below(random, 500));
    randomize(random, device.bytes);
    machine.devices.push_back(std::move(device));
  }
  return machine;
}

namespace {

void add_regions(Random& random, Manifest& m) {
  std::uint64_t at = 0;
  for (std::uint64_t i = 1 + below(random, 3); i != 0; --i) {
    at += below(random, 3) * 16 * m.page_size_bytes;
    const std::uint64_t size = (1 + below(random, 200)) * m.page_size_bytes;
    m.regions.push_back({{Gpa{at}, size},
                         static_cast<BackingKind>(below(random, 4)),
                         static_cast<HugePages>(below(random, 3))});
    at += size;
  }
}

// Stored sizes of chunks are the index's affair: an LZ4 extent is given room for raw chunks.
void add_extents(Random& random, Manifest& m) {
  std::uint64_t end = 0;
  for (const ManifestRegion& region : m.regions) {
    for (std::uint64_t done = 0; done < region.range.size;) {
      const std::uint64_t rest = (region.range.size - done) / m.page_size_bytes;
      const std::uint64_t pages = 1 + below(random, std::min<std::uint64_t>(rest, 40));
      Extent extent{
          {region.range.begin + done, pages * m.page_size_bytes}, ExtentKind::kZero, 0, 0};
      const std::uint64_t choice = below(random, m.parent ? 3 : 2);
      if (choice == 1) {
        extent.kind = m.codec == Codec::kLz4 && coin(random) ? ExtentKind::kLz4 : ExtentKind::kRaw;
        extent.first_chunk = m.chunk_count;
        m.chunk_count += static_cast<std::uint32_t>(chunk_count_of(extent.range, m.chunk_bytes));
        extent.file_offset =
            m.layout == Layout::kMappable ? mappable_offset(m.regions, extent.range.begin) : end;
        end += extent.range.size;
      } else if (choice == 2) {
        extent.kind = ExtentKind::kInherited;
      }
      done += extent.range.size;
      m.extents.push_back(extent);
    }
  }
  m.payload_bytes = m.layout == Layout::kMappable ? mappable_size(m.regions) : end;
}

}  // namespace

Manifest random_manifest(Random& random) {
  Manifest m;
  m.id = random_snapshot_id();
  if (coin(random)) {
    m.parent = ParentLink{random_snapshot_id(), {random(), random()}, random_text(random, 0, 50)};
  }
  m.creator = random_text(random, 0, 80);
  m.created_ns = static_cast<std::int64_t>(random());
  m.architecture = static_cast<Architecture>(1 + below(random, 3));
  m.backend = static_cast<BackendKind>(below(random, 4));
  m.clock_policy = static_cast<ClockPolicy>(1 + below(random, 3));
  std::set<std::string> features;
  for (std::uint64_t i = below(random, 20); i != 0; --i) {
    features.insert(random_text(random, 1, 12));
  }
  m.cpu_features.assign(features.begin(), features.end());
  m.page_size_bytes = coin(random) ? 4096 : 16384;
  m.chunk_bytes = m.page_size_bytes << below(random, 8);
  m.layout = static_cast<Layout>(1 + below(random, 2));
  m.codec = m.layout == Layout::kPacked && coin(random) ? Codec::kLz4 : Codec::kNone;
  add_regions(random, m);
  add_extents(random, m);
  m.index_bytes = random();
  m.index_checksum = {random(), random()};
  m.machine = random_machine(random, m.architecture, 1 + below(random, 4));
  for (std::uint64_t i = below(random, 4); i != 0; --i) {
    m.labels.push_back({"key" + std::to_string(i), random_text(random, 0, 60)});
  }
  return m;
}

std::unique_ptr<GuestMemory> make_memory(const GpaRanges& ranges, std::uint64_t page_size) {
  std::vector<RegionSpec> specs;
  for (const GpaRange& range : ranges) {
    specs.push_back({range, BackingKind::kAnonymous, HugePages::kNever, {}});
  }
  auto memory = GuestMemory::create(specs, page_size);
  STASIS_CHECK(memory.has_value());
  return *std::move(memory);
}

void fill_randomly(GuestMemory& memory, Random& random) {
  const std::uint64_t page = memory.page_size_bytes();
  for (const MemoryRegion& region : memory.regions()) {
    std::uint64_t at = 0;
    while (at < region.range.size) {
      const std::uint64_t pages = 1 + below(random, coin(random) ? 3 : 60);
      const std::uint64_t size = std::min(pages * page, region.range.size - at);
      const std::span<std::byte> run(region.host + at, size);
      switch (below(random, 3)) {
        case 0:
          std::ranges::fill(run, std::byte{0});
          break;
        case 1:
          randomize(random, run);
          break;
        default:
          std::ranges::fill(run, static_cast<std::byte>(1 + below(random, 255)));
          break;
      }
      at += size;
    }
  }
}

GpaRanges dirty_randomly(GuestMemory& memory, Random& random, std::uint64_t one_in) {
  const std::uint64_t page = memory.page_size_bytes();
  GpaRanges dirty;
  for (const MemoryRegion& region : memory.regions()) {
    for (std::uint64_t at = 0; at < region.range.size; at += page) {
      const bool last = dirty.empty() && at + page == region.range.size;
      if (below(random, one_in) != 0 && !last) {
        continue;
      }
      const std::span<std::byte> bytes(region.host + at, page);
      if (below(random, 4) == 0) {
        std::ranges::fill(bytes, std::byte{0});
      } else {
        randomize(random, bytes);
      }
      dirty.push_back({region.range.begin + at, page});
    }
  }
  return normalize(std::move(dirty));
}

void fill_page(GuestMemory& memory, Gpa page, std::uint8_t value) {
  const auto bytes = memory.writable_view({page, memory.page_size_bytes()});
  STASIS_CHECK(bytes.has_value());
  std::ranges::fill(*bytes, static_cast<std::byte>(value));
}

std::vector<std::byte> all_bytes(const GuestMemory& memory) {
  std::vector<std::byte> bytes;
  for (const MemoryRegion& region : memory.regions()) {
    bytes.insert(bytes.end(), region.host, region.host + region.range.size);
  }
  return bytes;
}

Result<std::vector<std::byte>> all_bytes(const SnapshotChain& chain, CheckChunks check) {
  STASIS_ASSIGN(const ChainContents contents, ChainContents::open(chain));
  std::vector<std::byte> bytes;
  ReadScratch scratch;
  for (const ManifestRegion& region : chain.manifest().regions) {
    std::vector<std::byte> part(region.range.size);
    STASIS_TRY(contents.read(region.range, part, check, scratch));
    bytes.insert(bytes.end(), part.begin(), part.end());
  }
  return bytes;
}

SnapshotFacts sample_facts(Architecture architecture) {
  SnapshotFacts facts;
  facts.creator = "stasis tests";
  facts.created_ns = 1'700'000'000'000'000'000;
  facts.architecture = architecture;
  facts.backend = BackendKind::kMock;
  facts.clock_policy = ClockPolicy::kInstructions;
  facts.cpu_features = {"toy"};
  facts.labels = {{"guest", "sample"}};
  return facts;
}

MachineState sample_machine() {
  Random random(7);
  return random_machine(random, Architecture::kToy, 2);
}

Result<WriteReport> save(FileSystem& file_system, const std::string& target,
                         const GuestMemory& memory, WriterOptions options, const GpaRanges& dirty) {
  const bool differential = options.parent != nullptr;
  STASIS_ASSIGN(SnapshotWriter writer,
                SnapshotWriter::begin(file_system, target, sample_facts(), std::move(options)));
  writer.put_machine(sample_machine());
  STASIS_TRY(differential ? writer.put_memory(memory, dirty) : writer.put_memory(memory));
  return std::move(writer).commit();
}

TemporaryDirectory::TemporaryDirectory()
    : path_((std::filesystem::temp_directory_path() /
             ("stasis-test-" + to_string(random_snapshot_id())))
                .string()) {
  std::filesystem::create_directory(path_);
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace stasis::snapshot
