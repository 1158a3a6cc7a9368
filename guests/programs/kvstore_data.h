// The data set of kvstore: deterministic, realistic keys and JSON values. The host's model of the
// guest (tests, experiments) includes this header too.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guests/runtime/hash.h"
#include "guests/runtime/text.h"

namespace stasis::guest::kvstore {

inline constexpr std::size_t kKeyBytesMax = 1024;
inline constexpr std::size_t kValueBytesMax = 60 * 1024;

inline constexpr const char* kWords[] = {
    "amber",   "anchor",   "apple",  "arrow",  "aspen",   "autumn",  "badger",  "bamboo",
    "barley",  "basil",    "beacon", "birch",  "bishop",  "bloom",   "breeze",  "bridge",
    "bronze",  "candle",   "canyon", "carbon", "castle",  "cedar",   "cherry",  "cinder",
    "clover",  "cobalt",   "comet",  "copper", "coral",   "cotton",  "crane",   "crystal",
    "dagger",  "dawn",     "delta",  "desert", "ember",   "falcon",  "fennel",  "fern",
    "field",   "flint",    "forest", "fossil", "garnet",  "ginger",  "glacier", "grove",
    "harbor",  "hazel",    "heron",  "hollow", "indigo",  "island",  "ivory",   "jasper",
    "juniper", "lantern",  "laurel", "lemon",  "linen",   "lotus",   "maple",   "marble",
    "meadow",  "mercury",  "mint",   "mirror", "morning", "nectar",  "nickel",  "north",
    "oasis",   "ocean",    "olive",  "onyx",   "orchid",  "otter",   "pebble",  "pepper",
    "pine",    "planet",   "plum",   "pollen", "prairie", "quartz",  "quill",   "rain",
    "raven",   "reef",     "ridge",  "river",  "robin",   "saffron", "sage",    "salmon",
    "sand",    "sapphire", "shadow", "silver", "slate",   "snow",    "spruce",  "stone",
    "storm",   "summer",   "sunset", "swift",  "thistle", "thunder", "tiger",   "timber",
    "topaz",   "tulip",    "valley", "velvet", "violet",  "walnut",  "water",   "willow",
    "winter",  "wolf",     "wren",   "zephyr", "acorn",   "atlas",   "aurora",  "alder"};
inline constexpr std::uint64_t kWordCount = sizeof(kWords) / sizeof(kWords[0]);

constexpr const char* word(Random& random) {
  return kWords[random.below(kWordCount)];
}

// The key of pair `index`: "user:<word>-<word>:<index>". Different for different indices.
constexpr void put_key(Writer& out, std::uint64_t index, std::uint64_t seed) {
  Random random(mix(index) + seed);
  const char* first = word(random);
  out.format("user:{}-{}:{}", first, word(random), index);
}

// Its value: one JSON object of 200 to 900 bytes.
constexpr void put_value(Writer& out, std::uint64_t index, std::uint64_t seed) {
  Random random(mix(index + 1) ^ mix(seed));
  const char* given = word(random);
  const char* family = word(random);
  out.format("{\"id\":{},\"name\":\"{} {}\",\"email\":\"{}.{}@", index, given, family, given,
             family);
  out.format("{}.example\",\"balance_cents\":{},\"active\":{},\"tags\":[\"{}\",", word(random),
             random.below(10'000'000), random.below(4) == 0 ? "false" : "true", word(random));
  out.format("\"{}\"],\"about\":\"", word(random));
  const std::uint64_t words = 10 + random.below(100);
  for (std::uint64_t i = 0; i < words; ++i) {
    out.format(i == 0 ? "{}" : " {}", word(random));
  }
  out.put("\"}");
}

// Of one pair; the whole store's digest is the sum over its pairs, so it does not depend on order.
inline std::uint64_t pair_digest(Text key, Text value) {
  return mix(Xxh64::hash(key.data, key.size) + mix(Xxh64::hash(value.data, value.size)));
}

}  // namespace stasis::guest::kvstore
