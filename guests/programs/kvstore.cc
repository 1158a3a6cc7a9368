// kvstore: a key-value store that takes long to warm up and little to ask. The guest of the
// demonstration: what a serverless function with a large in-memory data set is like.
//
// Arguments: size=200 (MiB of keys and values generated before kReady), seed=1.
// Requests; a key has no spaces, a value is the rest of the request:
//
//   get KEY           -> value <bytes> | missing
//   put KEY VALUE     -> ok new | ok replaced
//   del KEY           -> ok deleted | missing
//   scan CURSOR COUNT [PREFIX]   keys in table order, from cursor 0 on; every key that is neither
//                     put nor deleted meanwhile comes exactly once unless the table grows
//                     -> a line for each key, then next=<cursor> or next=end
//   key INDEX         -> the key generated for that pair (kvstore_data.h)
//   mix n=1000 seed=1 write=10   n operations on generated keys, write % of them puts of their own
//                     value again, the others gets
//                     -> ok ops=<n> hits=<n> hash=<16 hex> cycles=<n>
//   check             verifies every pair -> ok pairs=<n> digest=<16 hex>
//   stats             -> ok pairs=<n> bytes=<keys and values> slots=<n> tombstones=<n>
//
// Every value is stored with its hash, which each get checks: damaged memory is a panic, not a
// wrong answer.
#include "guests/programs/kvstore_data.h"
#include "guests/runtime/guest.h"

namespace guest = stasis::guest;
namespace abi = stasis::abi;
using guest::Text;
using guest::Words;
using guest::Writer;
namespace data = guest::kvstore;

namespace {

// A key and its value, behind each other in memory.
struct Record {
  std::uint32_t key_bytes = 0, value_bytes = 0;
  std::uint32_t capacity = 0;  // Bytes for key and value together.
  std::uint32_t reserved = 0;
  std::uint64_t value_hash = 0;
  Record* next_free = nullptr;

  [[nodiscard]] char* bytes() { return reinterpret_cast<char*>(this + 1); }
  [[nodiscard]] Text key() { return Text(bytes(), key_bytes); }
  [[nodiscard]] Text value() { return Text(bytes() + key_bytes, value_bytes); }
};

std::uint64_t hash_of(Text text) {
  return guest::Xxh64::hash(text.data, text.size);
}

// Memory for records, in multiples of 64 bytes. Freed records are reused for the same size only.
class Records {
 public:
  Record* make(Text key, Text value) {
    const std::size_t bytes = key.size + value.size;
    const std::size_t size_class = class_of(bytes);
    Record* record = free_[size_class];
    if (record != nullptr) {
      free_[size_class] = record->next_free;
    } else {
      record = static_cast<Record*>(guest::allocate((size_class + 1) * kUnitBytes, 16));
      record->capacity = static_cast<std::uint32_t>((size_class + 1) * kUnitBytes - sizeof(Record));
    }
    record->key_bytes = static_cast<std::uint32_t>(key.size);
    __builtin_memcpy(record->bytes(), key.data, key.size);
    set_value(*record, value);
    return record;
  }
  // `value` fits into the record's capacity.
  static void set_value(Record& record, Text value) {
    record.value_bytes = static_cast<std::uint32_t>(value.size);
    __builtin_memcpy(record.bytes() + record.key_bytes, value.data, value.size);
    record.value_hash = hash_of(value);
  }
  void drop(Record* record) {
    const std::size_t size_class = class_of(record->capacity);
    record->next_free = free_[size_class];
    free_[size_class] = record;
  }

 private:
  static constexpr std::size_t kUnitBytes = 64;
  static constexpr std::size_t kClasses =
      (data::kKeyBytesMax + data::kValueBytesMax + sizeof(Record)) / kUnitBytes + 1;
  static std::size_t class_of(std::size_t bytes) {
    return (bytes + sizeof(Record) - 1) / kUnitBytes;
  }
  Record* free_[kClasses] = {};
};

// Open addressing with linear probing; the size is a power of two.
class Table {
 public:
  struct Slot {
    std::uint64_t hash = 0;
    Record* record = nullptr;  // nullptr: never used. kTombstone: deleted.
  };

  void start(std::uint64_t pairs_expected) {
    std::uint64_t slots = 1024;
    while (slots < pairs_expected * 2) {
      slots *= 2;
    }
    slots_ = static_cast<Slot*>(guest::allocate(slots * sizeof(Slot), 4096));  // Zero: all empty.
    mask_ = slots - 1;
  }

  [[nodiscard]] Record* find(Text key) const {
    const Slot* slot = find_slot(key, hash_of(key));
    return slot == nullptr ? nullptr : slot->record;
  }
  // True if the key is new.
  bool put(Text key, Text value) {
    const std::uint64_t hash = hash_of(key);
    if (Slot* slot = find_slot(key, hash)) {
      replace(*slot, key, value);
      return false;
    }
    if ((pairs_ + tombstones_ + 1) * 10 > (mask_ + 1) * 7) {
      grow();
    }
    Slot* slot = &slots_[hash & mask_];
    while (is_pair(*slot)) {
      slot = after(slot);
    }
    tombstones_ -= slot->record == tombstone() ? 1U : 0U;
    *slot = Slot{hash, records_.make(key, value)};
    ++pairs_;
    bytes_ += key.size + value.size;
    return true;
  }
  bool erase(Text key) {
    Slot* slot = find_slot(key, hash_of(key));
    if (slot == nullptr) {
      return false;
    }
    bytes_ -= slot->record->key_bytes + slot->record->value_bytes;
    records_.drop(slot->record);
    slot->record = tombstone();
    --pairs_;
    ++tombstones_;
    return true;
  }

  // The pair in slot `index` < slots(), or nullptr.
  [[nodiscard]] Record* at(std::uint64_t index) const {
    return is_pair(slots_[index]) ? slots_[index].record : nullptr;
  }
  [[nodiscard]] std::uint64_t slots() const { return mask_ + 1; }
  [[nodiscard]] std::uint64_t pairs() const { return pairs_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t tombstones() const { return tombstones_; }

 private:
  static Record* tombstone() { return reinterpret_cast<Record*>(1); }
  static bool is_pair(const Slot& slot) {
    return slot.record != nullptr && slot.record != tombstone();
  }
  Slot* after(Slot* slot) const {
    return &slots_[static_cast<std::uint64_t>(slot - slots_ + 1) & mask_];
  }

  [[nodiscard]] Slot* find_slot(Text key, std::uint64_t hash) const {
    for (Slot* slot = &slots_[hash & mask_]; slot->record != nullptr; slot = after(slot)) {
      if (slot->hash == hash && is_pair(*slot) && slot->record->key() == key) {
        return slot;
      }
    }
    return nullptr;
  }
  void replace(Slot& slot, Text key, Text value) {
    bytes_ += value.size;
    bytes_ -= slot.record->value_bytes;
    if (key.size + value.size <= slot.record->capacity) {
      Records::set_value(*slot.record, value);
      return;
    }
    Record* const old = slot.record;
    slot.record = records_.make(key, value);
    records_.drop(old);
  }
  // Twice the size, or the same when most of what fills the table are tombstones. The old array is
  // not given back: the heap only grows.
  void grow() {
    Slot* const old = slots_;
    const std::uint64_t old_slots = mask_ + 1;
    start(pairs_ < old_slots / 4 ? old_slots / 2 : old_slots);
    tombstones_ = 0;
    for (std::uint64_t i = 0; i < old_slots; ++i) {
      if (is_pair(old[i])) {
        Slot* slot = &slots_[old[i].hash & mask_];
        while (slot->record != nullptr) {
          slot = after(slot);
        }
        *slot = old[i];
      }
    }
  }

  Slot* slots_ = nullptr;
  std::uint64_t mask_ = 0, pairs_ = 0, tombstones_ = 0, bytes_ = 0;
  Records records_;
} g_table;

std::uint64_t g_seed = 1, g_generated = 0;
char g_key[data::kKeyBytesMax], g_value[data::kValueBytesMax];

Text generated_key(std::uint64_t index) {
  Writer out(g_key, sizeof(g_key));
  data::put_key(out, index, g_seed);
  return out.text();
}

Text generated_value(std::uint64_t index) {
  Writer out(g_value, sizeof(g_value));
  data::put_value(out, index, g_seed);
  return out.text();
}

Text checked_value(Record& record) {
  if (hash_of(record.value()) != record.value_hash) {
    guest::panic("kvstore: the value of {} is damaged", record.key());
  }
  return record.value();
}

void warm_up() {
  std::uint64_t mib = 200;
  if (!guest::number_option(guest::arguments(), "size", mib) ||
      !guest::number_option(guest::arguments(), "seed", g_seed) || mib > 60 * 1024) {
    guest::panic("arguments: size=MIB seed=N, not '{}'", guest::arguments());
  }
  // Records are rounded up, and there is the table.
  const std::uint64_t needed = mib * abi::kMiB + mib * abi::kMiB / 4 + 2 * abi::kMiB;
  if (needed > guest::free_bytes()) {
    guest::panic(
        "a data set of {} MiB needs {} MiB of free memory, but there are {}; give the guest "
        "more memory or a smaller size=",
        mib, needed / abi::kMiB, guest::free_bytes() / abi::kMiB);
  }
  constexpr std::uint64_t kPairBytesAverage = 600;
  g_table.start(mib * abi::kMiB / kPairBytesAverage);
  while (g_table.bytes() < mib * abi::kMiB) {
    g_table.put(generated_key(g_generated), generated_value(g_generated));
    ++g_generated;
  }
  guest::print("kvstore: {} pairs, {} MiB\n", g_table.pairs(), g_table.bytes() / abi::kMiB);
}

void answer_put(Text rest, Writer& out) {
  Words words(rest);
  const Text key = words.next();
  const Text value = words.rest();
  if (key.empty() || key.size > data::kKeyBytesMax || value.size > data::kValueBytesMax) {
    out.format("error put KEY VALUE, at most {} and {} bytes", data::kKeyBytesMax,
               data::kValueBytesMax);
    return;
  }
  out.put(g_table.put(key, value) ? "ok new" : "ok replaced");
}

void answer_scan(Text rest, Writer& out) {
  Words words(rest);
  std::uint64_t cursor = 0, count = 0;
  if (!guest::parse_number(words.next(), cursor) || !guest::parse_number(words.next(), count) ||
      count == 0) {
    out.put("error scan CURSOR COUNT [PREFIX], a count above 0");
    return;
  }
  const Text prefix = words.next();
  constexpr std::size_t kLastLineBytes = sizeof("next=12345678901234567890") - 1;
  for (; cursor < g_table.slots() && count > 0; ++cursor) {
    Record* const record = g_table.at(cursor);
    if (record == nullptr || !record->key().starts_with(prefix)) {
      continue;
    }
    if (record->key_bytes + 1 + kLastLineBytes > out.space()) {
      break;
    }
    out.put(record->key()).put('\n');
    --count;
  }
  if (cursor >= g_table.slots()) {
    out.put("next=end");
  } else {
    out.format("next={}", cursor);
  }
}

void answer_mix(Text rest, Writer& out) {
  std::uint64_t n = 1000, seed = 1, write = 10;
  if (!guest::number_option(rest, "n", n) || !guest::number_option(rest, "seed", seed) ||
      !guest::number_option(rest, "write", write) || g_generated == 0) {
    out.put("error mix n=N seed=N write=PERCENT, on a generated data set");
    return;
  }
  const std::uint64_t from = guest::counter();
  guest::Random random(seed);
  std::uint64_t hits = 0, hash = 0;
  for (std::uint64_t i = 0; i < n; ++i) {
    const std::uint64_t index = random.below(g_generated);
    if (random.below(100) < write) {
      g_table.put(generated_key(index), generated_value(index));
    } else if (Record* const record = g_table.find(generated_key(index))) {
      ++hits;
      hash = guest::mix(hash + hash_of(checked_value(*record)));
    }
  }
  out.format("ok ops={} hits={} hash={} cycles={}", n, hits, guest::Hex{hash},
             guest::counter() - from);
}

void answer_check(Writer& out) {
  std::uint64_t pairs = 0, digest = 0;
  for (std::uint64_t i = 0; i < g_table.slots(); ++i) {
    if (Record* const record = g_table.at(i)) {
      digest += data::pair_digest(record->key(), checked_value(*record));
      ++pairs;
    }
  }
  if (pairs != g_table.pairs()) {
    guest::panic("kvstore: {} pairs counted, {} found", g_table.pairs(), pairs);
  }
  out.format("ok pairs={} digest={}", pairs, guest::Hex{digest});
}

void answer_key(Text rest, Writer& out) {
  std::uint64_t index = 0;
  if (!guest::parse_number(Words(rest).next(), index)) {
    out.put("error key INDEX");
    return;
  }
  out.put(generated_key(index));
}

void answer(Text request, Writer& out) {
  Words words(request);
  const Text command = words.next();
  if (command == "get") {
    Record* const record = g_table.find(Words(words.rest()).next());
    if (record == nullptr) {
      out.put("missing");
    } else {
      out.put("value ").put(checked_value(*record));
    }
  } else if (command == "put") {
    answer_put(words.rest(), out);
  } else if (command == "del") {
    out.put(g_table.erase(Words(words.rest()).next()) ? "ok deleted" : "missing");
  } else if (command == "scan") {
    answer_scan(words.rest(), out);
  } else if (command == "key") {
    answer_key(words.rest(), out);
  } else if (command == "mix") {
    answer_mix(words.rest(), out);
  } else if (command == "check") {
    answer_check(out);
  } else if (command == "stats") {
    out.format("ok pairs={} bytes={} slots={} tombstones={}", g_table.pairs(), g_table.bytes(),
               g_table.slots(), g_table.tombstones());
  } else {
    out.put("error unknown request; there are get, put, del, scan, key, mix, check, stats");
  }
}

}  // namespace

void guest_main(std::uint32_t vcpu) {
  if (vcpu != 0) {
    return;
  }
  warm_up();
  guest::serve(answer);
}
