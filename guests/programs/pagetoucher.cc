// pagetoucher: does exactly the memory accesses that it is told, and says what it read.
//
// Its pages are numbered from 0 upwards and lie in the free RAM. A page comes into use when it is
// first named; what is in use is what @prove hashes. Requests, with their defaults:
//
//   touch begin=0 count=1 stride=1 order=seq seed=1 write=0 compute=0 repeat=1 probe=0
//       visits `count` pages from `begin` on, every `stride`-th, `repeat` times over; order=random
//       in an order given by `seed`. An access reads the page's first word; write=1 also replaces
//       it, write=N replaces it in N % of the accesses by page. compute=NS spins that long after
//       each access. probe=1 times each access and publishes the histogram (kFaultProbe).
//       -> ok accesses=<n> hash=<16 hex> cycles=<n>
//   pages 5r 7w 9         these, in this order; r is the default     -> as touch
//   <binary list>         see pagetoucher_content.h                  -> as touch
//   fill MIB seed=1 zero=0 kind=mixed begin=0
//       gives the pages of the first MIB MiB from page `begin` on their contents; zero=P leaves P %
//       of them zero. kind: random, text, pointers, mixed            -> ok pages=<n> cycles=<n>
//   grow MIB              brings fresh memory into use and writes to each page
//                                                                    -> ok pages=<all in use> ...
//   hash begin=0 count=<in use>   XXH64 of whole pages               -> ok hash=<16 hex> cycles=<n>
//   checkpoint N          rings kCheckpoint                          -> ok
//   stats                 -> ok pages=<in use> limit=<pages there are>
//
// The argument string is a fill without the word: "64 seed=3 zero=50" warms up before kReady.
#include "guests/programs/pagetoucher_content.h"
#include "guests/runtime/guest.h"

namespace guest = stasis::guest;
namespace abi = stasis::abi;
using guest::Text;
using guest::Words;
using guest::Writer;
namespace content = guest::pagetoucher;

namespace {

constexpr std::uint64_t kPagesPerMib = abi::kMiB / content::kPageBytes;

// The numbered pages: first those of the low heap, then those of the high one.
class Pages {
 public:
  void start() {
    for (int i = 0; i < 2; ++i) {
      const abi::AddressRange heap = guest::boot_info().heap[i];
      // The runtime has taken the beginning of the first range.
      base_[i] = i == 0 ? reinterpret_cast<std::uint64_t>(guest::allocate(0, content::kPageBytes))
                        : heap.begin;
      limit_[i] = (heap.end - base_[i]) / content::kPageBytes;
    }
  }
  [[nodiscard]] std::uint64_t limit() const { return limit_[0] + limit_[1]; }
  [[nodiscard]] std::uint64_t used() const { return used_; }

  // Brings pages [0, end) into use; `end` <= limit().
  void use(std::uint64_t end) {
    while (used_ < end) {
      const std::uint64_t until = used_ < limit_[0] && end > limit_[0] ? limit_[0] : end;
      guest::allocate((until - used_) * content::kPageBytes, content::kPageBytes);
      used_ = until;
    }
  }
  [[nodiscard]] std::uint64_t* words(std::uint64_t page) const {
    const std::uint64_t address = page < limit_[0]
                                      ? base_[0] + page * content::kPageBytes
                                      : base_[1] + (page - limit_[0]) * content::kPageBytes;
    return reinterpret_cast<std::uint64_t*>(address);
  }

 private:
  std::uint64_t base_[2] = {}, limit_[2] = {}, used_ = 0;
} g_pages;

// Executes accesses and keeps their results.
class Run {
 public:
  Run(std::uint64_t compute_cycles, bool probed)
      : compute_cycles_(compute_cycles), probed_(probed), begin_(guest::counter()) {}

  // The page is in use.
  void access(std::uint64_t page, bool is_write) {
    volatile std::uint64_t* word = g_pages.words(page);
    const std::uint64_t before = probed_ ? guest::counter() : 0;
    const std::uint64_t value = *word;
    if (is_write) {
      *word = content::written(value, page);
    }
    if (probed_) {
      probe_.record(guest::counter() - before);
    }
    hash_ = content::accumulate(hash_, page, value);
    ++accesses_;
    if (compute_cycles_ > 0) {
      const std::uint64_t from = guest::counter();
      while (guest::counter() - from < compute_cycles_) {
        guest::relax();
      }
    }
  }
  void report(Writer& out) {
    const std::uint64_t cycles = guest::counter() - begin_;
    if (probed_) {
      probe_.publish();
    }
    out.format("ok accesses={} hash={} cycles={}", accesses_, guest::Hex{hash_}, cycles);
  }

 private:
  std::uint64_t compute_cycles_;
  bool probed_;
  std::uint64_t begin_, hash_ = 0, accesses_ = 0;
  guest::FaultProbe probe_;
};

// Says no more than once what is wrong with a request.
bool refuse(Writer& out, Text why) {
  out.clear();
  out.format("error {}", why);
  return false;
}

bool in_limit(std::uint64_t end, Writer& out) {
  if (end <= g_pages.limit()) {
    return true;
  }
  out.clear();
  out.format("error page {} does not exist; there are {}", end - 1, g_pages.limit());
  return false;
}

struct Touch {
  std::uint64_t begin = 0, count = 1, stride = 1, seed = 1, write = 0, compute = 0, repeat = 1,
                probe = 0;
  bool random = false;
};

bool parse_touch(Text request, Touch& touch, Writer& out) {
  struct {
    const char* name;
    std::uint64_t& value;
  } const options[] = {{"begin", touch.begin},   {"count", touch.count}, {"stride", touch.stride},
                       {"seed", touch.seed},     {"write", touch.write}, {"compute", touch.compute},
                       {"repeat", touch.repeat}, {"probe", touch.probe}};
  for (const auto& option : options) {
    if (!guest::number_option(request, option.name, option.value)) {
      out.clear();
      out.format("error {} is not a number", option.name);
      return false;
    }
  }
  const Text order = guest::option(request, "order");
  touch.random = order == "random";
  if (!order.empty() && !touch.random && !(order == "seq")) {
    return refuse(out, "order is neither seq nor random");
  }
  if (touch.write > 100) {
    return refuse(out, "write is 0, 1 (all) or a percentage");
  }
  // Bounds that keep every product below 2^64.
  const std::uint64_t limit = g_pages.limit();
  if (touch.begin >= limit || touch.stride > limit || touch.count > limit ||
      touch.compute > 1'000'000'000) {
    return refuse(out, "begin, stride or count beyond the pages there are, or compute above 1 s");
  }
  return touch.count == 0 || in_limit(touch.begin + touch.stride * (touch.count - 1) + 1, out);
}

void answer_touch(Text request, Writer& out) {
  Touch touch;
  if (!parse_touch(request, touch, out)) {
    return;
  }
  if (touch.count > 0) {
    g_pages.use(touch.begin + touch.stride * (touch.count - 1) + 1);
  }
  const content::Permutation order(touch.count, touch.seed);
  const std::uint64_t compute_cycles =
      touch.compute == 0 ? 0 : touch.compute * guest::counter_khz() / 1'000'000;
  Run run(compute_cycles, touch.probe != 0);
  for (std::uint64_t round = 0; round < touch.repeat; ++round) {
    for (std::uint64_t i = 0; i < touch.count; ++i) {
      const std::uint64_t slot = touch.random ? order.slot(i) : i;
      const std::uint64_t page = touch.begin + touch.stride * slot;
      const bool is_write = touch.write == 1 || content::is_chosen(page, touch.seed, touch.write);
      run.access(page, is_write);
    }
  }
  run.report(out);
}

struct Access {
  std::uint64_t page = 0;
  bool is_write = false;
};

bool parse_access(Text word, Access& access) {
  const char last = word.data[word.size - 1];
  access.is_write = last == 'w';
  if (last == 'w' || last == 'r') {
    --word.size;
  }
  return guest::parse_number(word, access.page);
}

void answer_pages(Text list, Writer& out) {
  std::uint64_t end = 0;
  Words check(list);
  for (Text word = check.next(); !word.empty(); word = check.next()) {
    Access access;
    if (!parse_access(word, access) || access.page >= g_pages.limit()) {
      out.format("error '{}' is not a page with r or w below {}", word, g_pages.limit());
      return;
    }
    end = access.page >= end ? access.page + 1 : end;
  }
  g_pages.use(end);
  Run run(0, false);
  Words words(list);
  for (Text word = words.next(); !word.empty(); word = words.next()) {
    Access access;
    parse_access(word, access);
    run.access(access.page, access.is_write);
  }
  run.report(out);
}

std::uint32_t list_word(Text list, std::size_t index) {
  std::uint32_t word = 0;
  __builtin_memcpy(&word, list.data + 4 * index, sizeof(word));
  return word;
}

void answer_binary(Text list, Writer& out) {
  std::uint64_t end = 0;
  for (std::size_t i = 1; i < list.size / 4; ++i) {
    const std::uint64_t page = list_word(list, i) & ~content::kWriteBit;
    end = page >= end ? page + 1 : end;
  }
  if (list.size % 4 != 0) {
    refuse(out, "a binary list is not a whole number of words");
    return;
  }
  if (!in_limit(end, out)) {
    return;
  }
  g_pages.use(end);
  Run run(0, false);
  for (std::size_t i = 1; i < list.size / 4; ++i) {
    const std::uint32_t word = list_word(list, i);
    run.access(word & ~content::kWriteBit, (word & content::kWriteBit) != 0);
  }
  run.report(out);
}

bool parse_kind(Text text, content::Kind& kind) {
  struct {
    const char* name;
    content::Kind kind;
  } const kinds[] = {{"random", content::Kind::kRandom},
                     {"text", content::Kind::kText},
                     {"pointers", content::Kind::kPointers},
                     {"mixed", content::Kind::kMixed}};
  for (const auto& candidate : kinds) {
    if (text == candidate.name) {
      kind = candidate.kind;
      return true;
    }
  }
  return text.empty();
}

void answer_fill(Text options, Writer& out) {
  std::uint64_t mib = 0, seed = 1, zero = 0, begin = 0;
  content::Kind kind = content::Kind::kMixed;
  Words words(options);
  if (!guest::parse_number(words.next(), mib) || !guest::number_option(options, "seed", seed) ||
      !guest::number_option(options, "zero", zero) ||
      !guest::number_option(options, "begin", begin) || zero > 100 ||
      !parse_kind(guest::option(options, "kind"), kind)) {
    refuse(out, "fill MIB [seed=N] [zero=PERCENT] [kind=random|text|pointers|mixed] [begin=PAGE]");
    return;
  }
  if (mib > g_pages.limit() || begin > g_pages.limit()) {
    refuse(out, "fill: more than there is");
    return;
  }
  const std::uint64_t end = begin + mib * kPagesPerMib;
  if (!in_limit(end, out)) {
    return;
  }
  const std::uint64_t from = guest::counter();
  const std::uint64_t fresh = g_pages.used();
  g_pages.use(end);
  for (std::uint64_t page = begin; page < end; ++page) {
    if (!content::is_chosen(page, seed, zero)) {
      content::fill_page(g_pages.words(page), page, seed, kind);
    } else if (page < fresh) {
      __builtin_memset(g_pages.words(page), 0, content::kPageBytes);
    }
  }
  out.format("ok pages={} cycles={}", mib * kPagesPerMib, guest::counter() - from);
}

void answer_grow(Text options, Writer& out) {
  std::uint64_t mib = 0;
  if (!guest::parse_number(Words(options).next(), mib) || mib > g_pages.limit()) {
    refuse(out, "grow MIB, at most what there is");
    return;
  }
  const std::uint64_t begin = g_pages.used();
  const std::uint64_t end = begin + mib * kPagesPerMib;
  if (!in_limit(end, out)) {
    return;
  }
  g_pages.use(end);
  const std::uint64_t from = guest::counter();
  for (std::uint64_t page = begin; page < end; ++page) {
    volatile std::uint64_t* word = g_pages.words(page);
    *word = content::written(*word, page);
  }
  out.format("ok pages={} cycles={}", g_pages.used(), guest::counter() - from);
}

void answer_hash(Text options, Writer& out) {
  std::uint64_t begin = 0;
  if (!guest::number_option(options, "begin", begin) || begin > g_pages.used()) {
    refuse(out, "hash: begin is not a page in use");
    return;
  }
  std::uint64_t count = g_pages.used() - begin;
  if (!guest::number_option(options, "count", count) || count > g_pages.used() - begin) {
    refuse(out, "hash: count reaches beyond the pages in use");
    return;
  }
  const std::uint64_t from = guest::counter();
  std::uint64_t hash = 0;
  for (std::uint64_t page = begin; page < begin + count; ++page) {
    hash = guest::Xxh64::hash(g_pages.words(page), content::kPageBytes, hash);
  }
  out.format("ok hash={} cycles={}", guest::Hex{hash}, guest::counter() - from);
}

void answer_checkpoint(Text options, Writer& out) {
  std::uint64_t number = 0;
  if (!guest::parse_number(Words(options).next(), number) || number > UINT32_MAX) {
    refuse(out, "checkpoint NUMBER");
    return;
  }
  guest::checkpoint(static_cast<std::uint32_t>(number));
  out.put("ok");
}

void answer(Text request, Writer& out) {
  if (request.size >= 4 && list_word(request, 0) == content::kBinaryListMagic) {
    answer_binary(request, out);
    return;
  }
  Words words(request);
  const Text command = words.next();
  if (command == "touch") {
    answer_touch(words.rest(), out);
  } else if (command == "pages") {
    answer_pages(words.rest(), out);
  } else if (command == "fill") {
    answer_fill(words.rest(), out);
  } else if (command == "grow") {
    answer_grow(words.rest(), out);
  } else if (command == "hash") {
    answer_hash(words.rest(), out);
  } else if (command == "checkpoint") {
    answer_checkpoint(words.rest(), out);
  } else if (command == "stats") {
    out.format("ok pages={} limit={}", g_pages.used(), g_pages.limit());
  } else {
    out.put("error unknown request; there are touch, pages, fill, grow, hash, checkpoint, stats");
  }
}

void warm_up() {
  if (guest::arguments().empty()) {
    return;
  }
  char buffer[256];
  Writer out(buffer, sizeof(buffer));
  answer_fill(guest::arguments(), out);
  if (out.text().starts_with("error")) {
    guest::panic("arguments: {}", out.text());
  }
  guest::print("pagetoucher: filled: {}\n", out.text());
}

}  // namespace

void guest_main(std::uint32_t vcpu) {
  if (vcpu != 0) {
    return;
  }
  g_pages.start();
  warm_up();
  guest::serve(answer);
}
