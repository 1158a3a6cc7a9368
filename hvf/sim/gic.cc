// Inputs, which interrupt is the most urgent, and the state as bytes. The frames are in
// gic_frames.cc, the CPU interface in gic_cpu_interface.cc.
#include "hvf/sim/gic.h"

#include <bit>
#include <cstring>
#include <utility>

namespace stasis::hvf::sim {
namespace {

constexpr std::uint64_t kAnyCpu = std::uint64_t{1} << 31U;  // GICD_IROUTER.Interrupt_Routing_Mode.
constexpr std::uint64_t kAffinityBits = 0xff00ffffff;       // Aff3 and Aff2 to Aff0.

// "SGIC", and the layout's version.
constexpr std::uint64_t kStateMark = 0x0000'0001'4349'4753;

class Writer {
 public:
  void put(std::uint64_t value) {
    for (std::uint32_t shift = 0; shift < 64; shift += 8) {
      bytes_.push_back(static_cast<std::byte>(value >> shift & 0xffU));
    }
  }
  void put(const GicWord& word) {
    for (const std::uint32_t bits :
         {word.group, word.enabled, word.latched, word.line, word.active, word.edge}) {
      put(std::uint64_t{bits});
    }
  }
  [[nodiscard]] std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class Reader {  // Of bytes whose number has been checked.
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::uint64_t take() {
    std::uint64_t value = 0;
    for (std::uint32_t i = 0; i < 8; ++i) {
      value |= std::to_integer<std::uint64_t>(bytes_[i]) << (8 * i);
    }
    bytes_ = bytes_.subspan(8);
    return value;
  }
  GicWord take_word() {
    GicWord word;
    for (std::uint32_t* const bits :
         {&word.group, &word.enabled, &word.latched, &word.line, &word.active, &word.edge}) {
      *bits = static_cast<std::uint32_t>(take());
    }
    return word;
  }

 private:
  std::span<const std::byte> bytes_;
};

void set_input(GicWord& word, std::uint32_t bit, bool level) {
  const bool rises = level && (word.line & bit) == 0;
  word.line = level ? word.line | bit : word.line & ~bit;
  if (rises && (word.edge & bit) != 0) {
    word.latched |= bit;
  }
}

}  // namespace

std::uint32_t Gic::add_cpu() {
  cpus_.emplace_back();
  return cpu_count() - 1;
}

void Gic::reset() {
  Gic fresh;
  for (std::size_t i = 1; i < words_.size(); ++i) {
    fresh.words_[i].line = words_[i].line;
  }
  for (const GicCpu& cpu : cpus_) {
    GicCpu& kept = fresh.cpus_.emplace_back();
    kept.affinity = cpu.affinity;
    kept.interrupts.line = cpu.interrupts.line;
  }
  *this = std::move(fresh);
}

GicWord& Gic::word_of(std::uint32_t cpu, std::uint32_t intid) {
  return intid < kPrivateIntids ? cpus_[cpu].interrupts : words_[intid / 32];
}

void Gic::set_spi(std::uint32_t intid, bool level) {
  set_input(words_[intid / 32], 1U << (intid % 32), level);
}

void Gic::set_ppi(std::uint32_t cpu, std::uint32_t intid, bool level) {
  set_input(cpus_[cpu].interrupts, 1U << intid, level);
}

// An interrupt that any CPU may take goes to the first.
bool Gic::is_routed_to(std::uint32_t intid, std::uint32_t cpu) const {
  if (intid < kPrivateIntids) {
    return true;
  }
  const std::uint64_t route = routes_[intid];
  if ((route & kAnyCpu) != 0) {
    return cpu == 0;
  }
  return (route & kAffinityBits) == (cpus_[cpu].affinity & kAffinityBits);
}

void Gic::consider(const GicWord& word, std::uint32_t first_intid,
                   std::span<const std::uint8_t> priorities, std::uint32_t cpu,
                   std::optional<Candidate>& best) const {
  const GicCpu& interface = cpus_[cpu];
  const bool group0 = (control_ & 1U) != 0 && interface.group_enabled[0];
  const bool group1 = (control_ & 2U) != 0 && interface.group_enabled[1];
  const std::uint32_t on = (group0 ? ~word.group : 0) | (group1 ? word.group : 0);
  std::uint32_t left = word.pending() & word.enabled & ~word.active & on;
  for (; left != 0; left &= left - 1) {
    const auto number = static_cast<std::uint32_t>(std::countr_zero(left));
    const Candidate candidate{first_intid + number, priorities[first_intid + number],
                              word.group >> number & 1U};
    const bool is_better = !best.has_value() || candidate.priority < best->priority;
    if (is_better && is_routed_to(candidate.intid, cpu)) {
      best = candidate;
    }
  }
}

std::optional<Gic::Candidate> Gic::most_urgent(std::uint32_t cpu) const {
  std::optional<Candidate> best;
  consider(cpus_[cpu].interrupts, 0, cpus_[cpu].priorities, cpu, best);
  for (std::uint32_t i = 1; i < words_.size(); ++i) {
    consider(words_[i], 32 * i, priorities_, cpu, best);
  }
  return best;
}

bool Gic::asks(std::uint32_t cpu, std::uint32_t group) const {
  const std::optional<Candidate> candidate = signaled(cpu);
  return candidate.has_value() && candidate->group == group;
}

std::vector<std::byte> Gic::save() const {
  Writer out;
  out.put(kStateMark);
  out.put(std::uint64_t{cpu_count()});
  out.put(std::uint64_t{control_});
  for (const auto word : words_) {
    out.put(word);
  }
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    out.put(std::uint64_t{priorities_[i]});
    out.put(routes_[i]);
  }
  for (const GicCpu& cpu : cpus_) {
    out.put(cpu.interrupts);
    for (const std::uint8_t priority : cpu.priorities) {
      out.put(std::uint64_t{priority});
    }
  }
  return out.take();
}

bool Gic::load(std::span<const std::byte> bytes) {
  if (bytes.size() != save().size()) {
    return false;
  }
  Reader in(bytes);
  if (in.take() != kStateMark || in.take() != cpu_count()) {
    return false;
  }
  control_ = static_cast<std::uint32_t>(in.take()) & 3U;
  for (GicWord& word : words_) {
    word = in.take_word();
  }
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    priorities_[i] = static_cast<std::uint8_t>(in.take());
    routes_[i] = in.take();
  }
  for (GicCpu& cpu : cpus_) {
    cpu.interrupts = in.take_word();
    for (std::uint8_t& priority : cpu.priorities) {
      priority = static_cast<std::uint8_t>(in.take());
    }
  }
  return true;
}

}  // namespace stasis::hvf::sim
