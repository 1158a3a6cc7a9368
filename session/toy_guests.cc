#include "session/toy_guests.h"

#include <array>
#include <cstring>

#include "guests/abi.h"
#include "mock/assembler.h"

namespace stasis::session {

namespace {

using abi::Mailbox;
using abi::MailboxHeader;
using mock::Assembler;
using mock::Opcode;
using namespace mock;  // NOLINT(google-build-using-namespace): R0 to R15.

// One data page in each 16 KiB, whatever the page size of the backend.
constexpr std::uint64_t kDataAddress = 0x600000;
constexpr std::int32_t kDataStrideBytes = 16384;
constexpr int kDataPages = 9;
constexpr int kDigits = 8;
constexpr std::string_view kAnswer = "count=";

constexpr std::int32_t kRequestOffset = offsetof(Mailbox, request);
constexpr std::int32_t kResponseOffset = offsetof(Mailbox, response);
constexpr std::int32_t kRequestSeq = offsetof(MailboxHeader, request_seq);
constexpr std::int32_t kResponseSeq = offsetof(MailboxHeader, response_seq);

// Registers with one meaning in all programs.
constexpr mock::Register kVcpu = R0, kZero = R12, kData = R13, kMailbox = R14, kDoorbell = R15;

constexpr std::int32_t offset_of(abi::Register reg) {
  return static_cast<std::int32_t>(abi::register_offset(reg));
}

void ring(Assembler& code, abi::Register reg, std::uint64_t value) {
  code.load_imm(R1, value).store(R1, kDoorbell, offset_of(reg), 4);
}

// `text` to the console or, with kPanic, as the reason of a panic.
void say(Assembler& code, abi::Register reg, std::string_view text) {
  for (std::size_t at = 0; at < text.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + at, std::min<std::size_t>(8, text.size() - at));
    code.load_imm(R1, word).store(R1, kMailbox,
                                  static_cast<std::int32_t>(offsetof(Mailbox, console) + at), 8);
  }
  ring(code, reg, text.size());
}

// Constants into their registers; all vCPUs but the first park for good.
void begin(Assembler& code) {
  code.load_imm(kDoorbell, abi::kDoorbellMmioAddress)
      .load_imm(kMailbox, abi::kMailboxAddress)
      .load_imm(kData, kDataAddress)
      .load_imm(kZero, 0);
  const Assembler::Label first = code.label();
  code.branch_equal(kVcpu, kZero, first);
  const Assembler::Label others = code.here();
  ring(code, abi::Register::kPark, 0);
  code.jump(others);
  code.bind(first);
}

// R5: the number of this request, kept in RAM and written to every data page.
void count_request(Assembler& code) {
  code.load(R5, kData, 0, 8).add_imm(R5, R5, 1);
  for (int i = 0; i < kDataPages; ++i) {
    code.store(R5, kData, i * kDataStrideBytes, 8);
  }
}

// Answers request R2 with "count=" and R5 in eight digits.
void answer(Assembler& code) {
  for (std::size_t i = 0; i < kAnswer.size(); ++i) {
    code.load_imm(R1, static_cast<unsigned char>(kAnswer[i]))
        .store(R1, kMailbox, kResponseOffset + static_cast<std::int32_t>(i), 1);
  }
  code.move(R6, R5).load_imm(R7, 10);
  for (int i = kDigits - 1; i >= 0; --i) {
    code.alu(Opcode::kRemUnsigned, R8, R6, R7).alu(Opcode::kDivUnsigned, R6, R6, R7);
    code.add_imm(R8, R8, '0')
        .store(R8, kMailbox, kResponseOffset + static_cast<std::int32_t>(kAnswer.size()) + i, 1);
  }
  code.store(R2, kMailbox, kResponseSeq, 8);
  ring(code, abi::Register::kRespond, kAnswer.size() + kDigits);
}

enum class Idle { kWait, kCompute };

void counter(Assembler& code, Idle idle) {
  say(code, abi::Register::kConsole, "hello from a toy guest\n");
  ring(code, abi::Register::kReady, 0);
  const Assembler::Label loop = code.here();
  const Assembler::Label serve = code.label();
  code.load(R2, kMailbox, kRequestSeq, 8).load(R3, kMailbox, kResponseSeq, 8);
  code.branch_not_equal(R2, R3, serve);
  if (idle == Idle::kWait) {
    ring(code, abi::Register::kWait, 0);
  } else {
    code.add_imm(R9, R9, 1).store(R9, kData, 8, 8);
  }
  code.jump(loop);
  code.bind(serve);
  count_request(code);
  const Assembler::Label go_on = code.label();
  std::uint32_t exit_word = 0;
  std::memcpy(&exit_word, "exit", 4);
  code.load(R4, kMailbox, kRequestOffset, 4).load_imm(R1, exit_word);
  code.branch_not_equal(R4, R1, go_on);
  code.store(R5, kDoorbell, offset_of(abi::Register::kExit), 4);
  code.bind(go_on);
  answer(code);
  code.jump(loop);
}

void spin(Assembler& code) {
  const Assembler::Label loop = code.here();
  code.add_imm(R9, R9, 1).jump(loop);
}

void deaf(Assembler& code) {
  ring(code, abi::Register::kReady, 0);
  const Assembler::Label loop = code.here();
  ring(code, abi::Register::kWait, 0);
  code.jump(loop);
}

struct ToyGuest {
  std::string_view name;
  void (*write)(Assembler&);
};

constexpr std::array<ToyGuest, 7> kToyGuests = {{
    {"counter", [](Assembler& code) { counter(code, Idle::kWait); }},
    {"busy", [](Assembler& code) { counter(code, Idle::kCompute); }},
    {"exit", [](Assembler& code) { ring(code, abi::Register::kExit, 3); }},
    {"fault", [](Assembler& code) { code.append({Opcode::kIllegal}); }},
    {"panic",
     [](Assembler& code) { say(code, abi::Register::kPanic, "a toy guest gives up on purpose"); }},
    {"spin", spin},
    {"deaf", deaf},
}};

}  // namespace

std::vector<std::string> list_toy_guests() {
  std::vector<std::string> names;
  names.reserve(kToyGuests.size());
  for (const ToyGuest& guest : kToyGuests) {
    names.emplace_back(guest.name);
  }
  return names;
}

Result<guests::LoadedGuest> load_toy_guest(std::string_view name, GuestMemory& memory,
                                           std::uint32_t vcpus) {
  for (const ToyGuest& guest : kToyGuests) {
    if (guest.name != name) {
      continue;
    }
    Assembler code(Gpa{abi::kImageAddress});
    begin(code);
    guest.write(code);
    STASIS_TRY(code.write_to(memory));
    guests::LoadedGuest loaded;
    loaded.architecture = Architecture::kToy;
    loaded.entry = Gpa{abi::kImageAddress};
    for (std::uint32_t i = 0; i < vcpus; ++i) {
      ToyVcpuState state;
      state.pc = abi::kImageAddress;
      state.r[kVcpu] = i;
      loaded.vcpus.emplace_back(state);
    }
    return loaded;
  }
  std::string known;
  for (const ToyGuest& guest : kToyGuests) {
    known += (known.empty() ? "" : ", ") + std::string(guest.name);
  }
  return Error{
      Errc::kNotFound, 0,
      "toy guest '" + std::string(name) + "': there is none of that name; there are: " + known};
}

}  // namespace stasis::session
