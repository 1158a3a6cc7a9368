// The interrupt controller of a VM as plain registers: a GICv3 with one security state, affinity
// routing always on, the CPU interface in system registers, 5 bits of priority, no LPIs.
// Source: Arm IHI 0069 (GICv3 and GICv4), chapters 4 (handling), 12 (registers).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace stasis::hvf::sim {

inline constexpr std::uint32_t kPrivateIntids = 32;  // SGIs below 16, then PPIs: of each CPU.
inline constexpr std::uint32_t kIntidsEnd = 1020;    // Behind the last SPI; from here on: special.
inline constexpr std::uint32_t kSpuriousIntid = 1023;

// 32 interrupts, one bit each. Value.
struct GicWord {
  std::uint32_t group = 0;  // Group 1, an IRQ; else group 0, an FIQ.
  std::uint32_t enabled = 0;
  std::uint32_t latched = 0;  // Pending by an edge, by software or as an SGI.
  std::uint32_t line = 0;     // The input's level.
  std::uint32_t active = 0;
  std::uint32_t edge = 0;  // Triggered by edges; else by the level.
  [[nodiscard]] std::uint32_t pending() const { return latched | (line & ~edge); }
  friend bool operator==(const GicWord&, const GicWord&) = default;
};

// One CPU: its redistributor's interrupts and its CPU interface. Value.
struct GicCpu {
  std::uint64_t affinity = 0;  // As MPIDR_EL1.
  GicWord interrupts{.edge = 0xffff};
  std::array<std::uint8_t, kPrivateIntids> priorities = {};
  std::uint8_t priority_mask = 0;                       // ICC_PMR_EL1.
  std::array<std::uint8_t, 2> binary_points = {2, 3};   // ICC_BPR0_EL1, ICC_BPR1_EL1.
  std::array<std::uint32_t, 2> active_priorities = {};  // ICC_AP0R0_EL1, ICC_AP1R0_EL1.
  std::array<bool, 2> group_enabled = {};               // ICC_IGRPEN0_EL1, ICC_IGRPEN1_EL1.
  std::uint8_t control = 0;                             // ICC_CTLR_EL1: CBPR, EOImode.
  friend bool operator==(const GicCpu&, const GicCpu&) = default;
};

// Thread-compatible. CPUs are numbered as they were added.
class Gic {
 public:
  std::uint32_t add_cpu();
  [[nodiscard]] std::uint32_t cpu_count() const { return static_cast<std::uint32_t>(cpus_.size()); }
  void set_affinity(std::uint32_t cpu, std::uint64_t mpidr) { cpus_[cpu].affinity = mpidr; }
  void reset();  // All but the CPUs, their affinities and the levels of inputs.

  // Inputs. `intid` 32 to 1019, or 16 to 31.
  void set_spi(std::uint32_t intid, bool level);
  void set_ppi(std::uint32_t cpu, std::uint32_t intid, bool level);

  // Outputs: whether the CPU interface asks for an exception.
  [[nodiscard]] bool has_irq(std::uint32_t cpu) const { return asks(cpu, 1); }
  [[nodiscard]] bool has_fiq(std::uint32_t cpu) const { return asks(cpu, 0); }

  // Frames, by an access of 1, 2, 4 or 8 bytes. What is not there reads as zero. No side effects of
  // reading.
  [[nodiscard]] std::uint64_t read_distributor(std::uint64_t offset, std::uint32_t width) const;
  void write_distributor(std::uint64_t offset, std::uint32_t width, std::uint64_t value);
  [[nodiscard]] std::uint64_t read_redistributor(std::uint32_t cpu, std::uint64_t offset,
                                                 std::uint32_t width) const;
  void write_redistributor(std::uint32_t cpu, std::uint64_t offset, std::uint32_t width,
                           std::uint64_t value);

  // ICC_*_EL1, by the encoding of MRS and MSR: what a guest's access does. Nothing, or false, where
  // there is no such register or not this way. Reading ICC_IAR*_EL1 acknowledges.
  std::optional<std::uint64_t> read_icc(std::uint32_t cpu, std::uint16_t encoding);
  bool write_icc(std::uint32_t cpu, std::uint16_t encoding, std::uint64_t value);
  // Those that hold something, for the framework's user: no side effects.
  [[nodiscard]] std::optional<std::uint64_t> peek_icc(std::uint32_t cpu,
                                                      std::uint16_t encoding) const;

  // Everything but CPU interfaces and affinities, in a form of ours.
  [[nodiscard]] std::vector<std::byte> save() const;
  // False, and nothing changes, unless `bytes` came from a save() of as many CPUs.
  bool load(std::span<const std::byte> bytes);

 private:
  struct Candidate {
    std::uint32_t intid = kSpuriousIntid;
    std::uint8_t priority = 0xff;
    std::uint32_t group = 0;
  };

  [[nodiscard]] bool asks(std::uint32_t cpu, std::uint32_t group) const;
  // The most urgent that is pending, enabled and not active, of CPU interface groups that are on.
  [[nodiscard]] std::optional<Candidate> most_urgent(std::uint32_t cpu) const;
  // The same, if it may interrupt what the CPU is doing.
  [[nodiscard]] std::optional<Candidate> signaled(std::uint32_t cpu) const;
  [[nodiscard]] bool is_routed_to(std::uint32_t intid, std::uint32_t cpu) const;
  void consider(const GicWord& word, std::uint32_t first_intid,
                std::span<const std::uint8_t> priorities, std::uint32_t cpu,
                std::optional<Candidate>& best) const;
  std::uint64_t acknowledge(std::uint32_t cpu, std::uint32_t group);
  void end(std::uint32_t cpu, std::uint32_t group, std::uint64_t intid);
  void deactivate(std::uint32_t cpu, std::uint64_t intid);
  void send_sgi(std::uint32_t cpu, std::uint32_t group, std::uint64_t request);
  [[nodiscard]] GicWord& word_of(std::uint32_t cpu, std::uint32_t intid);
  [[nodiscard]] std::uint32_t read_distributor_word(std::uint64_t offset) const;
  void write_distributor_word(std::uint64_t offset, std::uint32_t value);
  [[nodiscard]] std::uint32_t read_redistributor_word(std::uint32_t cpu,
                                                      std::uint64_t offset) const;
  void write_redistributor_word(std::uint32_t cpu, std::uint64_t offset, std::uint32_t value);

  std::uint32_t control_ = 0;           // GICD_CTLR: the groups that are on.
  std::array<GicWord, 32> words_ = {};  // By INTID / 32; the first is not used.
  std::array<std::uint8_t, 1024> priorities_ = {};
  std::array<std::uint64_t, 1024> routes_ = {};  // GICD_IROUTER.
  std::vector<GicCpu> cpus_;
};

}  // namespace stasis::hvf::sim
