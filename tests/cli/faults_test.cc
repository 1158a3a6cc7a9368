// Bad input and faults, end to end: each gets one clear error and its exit code, and what was there
// before survives. On the mock, so that every host runs it.
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshot/manifest_codec.h"
#include "tests/cli/program.h"

namespace stasis::cli::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Faults : public ::testing::Test {
 protected:
  Outcome stasis(std::vector<std::string> arguments) {
    return run(arguments, {.directory = directory_.path()});
  }
  Outcome mock(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--backend", "mock"});
    return stasis(std::move(arguments));
  }
  void save(const std::string& name, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"run",       "toy:counter", "--memory", "16M",
                                          "--request", "one",         "--save",   name};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = mock(arguments);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  void save_difference(const std::string& from, const std::string& to) {
    const Outcome outcome = mock({"restore", from, "--request", "more", "--save", to, "--diff"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  std::string file(const std::string& name) { return directory_ / name; }
  void copy(const std::string& from, const std::string& to) {
    fs::copy(file(from), file(to), fs::copy_options::recursive);
  }
  // One error line on standard error, nothing on standard output, this exit code.
  void expect_error(const Outcome& outcome, int exit_code, const std::string& words) {
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_THAT(outcome.err, StartsWith("stasis: error: "));
    EXPECT_THAT(outcome.err, HasSubstr(words));
    EXPECT_EQ(outcome.out, "");
  }
  // Damaged in a way that every reader must notice.
  void expect_corrupt(const std::string& name, const std::string& words) {
    for (const std::string policy : {"lazy", "eager"}) {
      expect_error(mock({"restore", name, "--policy", policy, "--request", "x"}), 3, words);
    }
    EXPECT_EQ(stasis({"verify", name}).exit_code, 1);
  }
  void edit_manifest(const std::string& name,
                     const std::function<void(snapshot::Manifest&)>& edit) {
    const std::string path = file(name + "/manifest.capnp");
    const std::string text = read_file(path);
    auto decoded = snapshot::decode_manifest(std::as_bytes(std::span(text)));
    ASSERT_TRUE(decoded.has_value()) << decoded.error().to_string();
    edit(decoded->manifest);
    const auto bytes = snapshot::encode_manifest(decoded->manifest);
    ASSERT_TRUE(bytes.has_value()) << bytes.error().to_string();
    write_file(path, std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size()));
  }

  TemporaryDirectory directory_;
};

TEST_F(Faults, WhatIsNotASnapshotIsRefusedByEveryCommand) {
  fs::create_directory(file("empty"));
  write_file(file("plain"), "text");
  for (const std::string name : {"nowhere", "empty", "plain"}) {
    for (const std::vector<std::string>& command :
         std::vector<std::vector<std::string>>{{"restore", name, "--backend", "mock"},
                                               {"inspect", name},
                                               {"verify", name},
                                               {"diff", name, name},
                                               {"merge", name, "--out", "flat"}}) {
      const Outcome outcome = stasis(command);
      EXPECT_NE(outcome.exit_code, 0) << command[0];
      EXPECT_THAT(outcome.err + outcome.out, HasSubstr(name)) << command[0];
    }
  }
  EXPECT_FALSE(exists(file("flat")));
}

TEST_F(Faults, EveryTruncationOfEveryFileIsNoticed) {
  save("warm", {"--layout", "packed"});
  for (const std::string part : {"manifest.capnp", "index.capnp", "memory"}) {
    const std::uintmax_t size = fs::file_size(file("warm/" + part));
    ASSERT_GT(size, 0U) << part;
    for (const std::uintmax_t keep : {std::uintmax_t{0}, std::uintmax_t{1}, size / 2, size - 1}) {
      fs::remove_all(file("bad"));
      copy("warm", "bad");
      fs::resize_file(file("bad/" + part), keep);
      expect_corrupt("bad", part);
    }
  }
}

TEST_F(Faults, MissingOversizedAndExchangedFilesAreNoticed) {
  save("warm");
  save("other", {"--request", "two"});
  for (const std::string part : {"index.capnp", "memory"}) {
    fs::remove_all(file("bad"));
    copy("warm", "bad");
    fs::remove(file("bad/" + part));
    expect_corrupt("bad", part);
    copy("warm/" + part, "bad/" + part);
    fs::resize_file(file("bad/" + part), fs::file_size(file("bad/" + part)) + 4096);
    expect_corrupt("bad", part);
  }
  copy("warm", "swapped");
  fs::copy_file(file("other/index.capnp"), file("swapped/index.capnp"),
                fs::copy_options::overwrite_existing);
  expect_error(mock({"restore", "swapped", "--policy", "eager"}), 3, "index.capnp");
  EXPECT_EQ(stasis({"verify", "swapped"}).exit_code, 1);
}

// A lazy restore compares no checksum of what it maps, and must tell all the same.
TEST_F(Faults, ThePayloadOfAnotherSnapshotIsRefusedByEveryPolicyNamingBoth) {
  for (const std::string layout : {"mappable", "packed"}) {
    save("warm-" + layout, {"--layout", layout});
    save("other-" + layout, {"--layout", layout});
    const std::string swapped = "swapped-" + layout;
    copy("warm-" + layout, swapped);
    fs::copy_file(file("other-" + layout + "/memory"), file(swapped + "/memory"),
                  fs::copy_options::overwrite_existing);
    ASSERT_EQ(fs::file_size(file("warm-" + layout + "/memory")),
              fs::file_size(file(swapped + "/memory")));
    const auto id = [&](const std::string& name) {
      return stasis({"inspect", name, "--json"}).json().at("id").get<std::string>();
    };
    for (const std::string policy : {"lazy", "eager"}) {
      const Outcome outcome = mock({"restore", swapped, "--policy", policy});
      expect_error(outcome, 8, swapped + "/memory");
      EXPECT_THAT(outcome.err, HasSubstr(id("warm-" + layout)));
      EXPECT_THAT(outcome.err, HasSubstr(id("other-" + layout)));
    }
    const Outcome verify = stasis({"verify", swapped});
    EXPECT_EQ(verify.exit_code, 1);
    EXPECT_THAT(verify.out, HasSubstr(swapped + "/memory"));
  }
}

TEST_F(Faults, AFlippedBitAnywhereIsFoundByVerifyAndByAnEagerRestore) {
  save("warm", {"--layout", "packed"});
  for (const std::string part : {"manifest.capnp", "index.capnp", "memory"}) {
    const std::string good = read_file(file("warm/" + part));
    for (const std::size_t at :
         {std::size_t{0}, good.size() / 3, good.size() / 2, good.size() - 9, good.size() - 1}) {
      fs::remove_all(file("bad"));
      copy("warm", "bad");
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 0x10);
      write_file(file("bad/" + part), bad);
      const Outcome verify = stasis({"verify", "bad"});
      const Outcome eager = mock({"restore", "bad", "--policy", "eager"});
      if (part == "manifest.capnp" && verify.exit_code == 0) {
        // Not every bit of the header means something; then nothing else may have changed.
        EXPECT_EQ(stasis({"diff", "warm", "bad"}).exit_code, 0) << at;
        continue;
      }
      EXPECT_EQ(verify.exit_code, 1) << part << " at " << at;
      EXPECT_THAT(verify.out, HasSubstr("bad/" + part)) << at;
      EXPECT_THAT(eager.exit_code, AnyOf(3, 4, 8)) << part << " at " << at << eager.err;
    }
  }
}

TEST_F(Faults, AFutureVersionExplainsItselfAndIsNotRead) {
  save("warm");
  const std::string path = file("warm/manifest.capnp");
  const std::string good = read_file(path);
  bool found = false;
  // The format version is the 32-bit 1 in the header whose change inspect reports.
  for (std::size_t at = 0; at + 4 <= 256 && !found; at += 4) {
    if (good.substr(at, 4) != std::string("\1\0\0\0", 4)) {
      continue;
    }
    std::string future = good;
    future[at] = 99;
    write_file(path, future);
    const Outcome inspect = stasis({"inspect", "warm", "--json"});
    found = inspect.exit_code == 0 && inspect.json().at("format_version") == 99;
  }
  ASSERT_TRUE(found) << "no header field is the format version";
  const nlohmann::json json = stasis({"inspect", "warm", "--json"}).json();
  EXPECT_FALSE(json.at("readable").get<bool>());
  EXPECT_THAT(json.at("creator").get<std::string>(), HasSubstr("stasis"));
  expect_error(mock({"restore", "warm"}), 4, "99");
}

TEST_F(Faults, AMissingParentStopsARestoreButNotInspect) {
  save("warm");
  save_difference("warm", "child");
  fs::remove_all(file("warm"));
  expect_error(mock({"restore", "child"}), 5, "parent");
  const Outcome inspect = stasis({"inspect", "child", "--json"});
  EXPECT_EQ(inspect.exit_code, 0);
  EXPECT_EQ(inspect.json().at("chain_error").at("code"), "not_found");
  EXPECT_EQ(inspect.json().at("labels").at("guest"), "toy:counter");
  EXPECT_EQ(stasis({"verify", "child"}).exit_code, 1);
  EXPECT_EQ(stasis({"merge", "child", "--out", "flat"}).exit_code, 5);
  EXPECT_FALSE(exists(file("flat")));
}

TEST_F(Faults, AWrongParentAndOneThatIsItsOwnChildAreRefused) {
  save("warm");
  save_difference("warm", "child");
  fs::rename(file("warm"), file("../" + fs::path(directory_.path()).filename().string() + "/x"));
  save("warm");  // Another snapshot under the parent's name; the true one has moved away.
  fs::remove_all(file("x"));
  expect_error(mock({"restore", "child"}), 8, "parent");
  fs::remove_all(file("warm"));
  copy("child", "warm");  // The child where its parent should be: a chain that ends in itself.
  expect_error(mock({"restore", "child"}), 8, "parent");
}

TEST_F(Faults, AMovedChainIsFoundByItsIds) {
  save("warm");
  save_difference("warm", "child");
  fs::create_directory(file("elsewhere"));
  fs::rename(file("warm"), file("elsewhere/renamed"));
  fs::rename(file("child"), file("elsewhere/child"));
  const Outcome outcome = mock({"restore", "elsewhere/child", "--request", "x"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
}

TEST_F(Faults, WhatTheHostLacksIsNamedBeforeAnythingIsRestored) {
  save("warm");
  copy("warm", "feature");
  edit_manifest("feature",
                [](snapshot::Manifest& manifest) { manifest.cpu_features = {"quantum512"}; });
  expect_error(mock({"restore", "feature"}), 8, "quantum512");
  if (why_no_kvm().empty()) {
    const Outcome wrong = stasis({"restore", "warm", "--backend", "kvm"});
    EXPECT_EQ(wrong.exit_code, 8);
    EXPECT_THAT(wrong.err, HasSubstr("toy"));
  }
}

TEST_F(Faults, ManifestsAboveTheLimitAreNotRead) {
  save("warm");
  fs::resize_file(file("warm/manifest.capnp"), std::uintmax_t{300} << 20U);  // Sparse.
  for (const std::string policy : {"lazy", "eager"}) {
    expect_error(mock({"restore", "warm", "--policy", policy}), 3, "manifest.capnp");
  }
}

TEST_F(Faults, RequestsLargerThanTheMailboxAreRefusedBeforeTheGuestStarts) {
  write_file(file("large"), std::string(64 * 1024 + 1, 'x'));
  write_file(file("fits"), std::string(64 * 1024, 'x'));
  expect_error(mock({"run", "toy:counter", "--request", "@large"}), 2, "65536");
  EXPECT_EQ(mock({"run", "toy:counter", "--request", "@fits"}).exit_code, 0);
  expect_error(mock({"run", "toy:counter", "--request", "@/dev/zero"}), 2, "65536");
  expect_error(mock({"run", "toy:counter", "--request", "@nowhere"}), 5, "nowhere");
}

TEST_F(Faults, AbsurdSizesNameTheLimitsOfDesignAndHost) {
  expect_error(mock({"run", "toy:counter", "--vcpus", "33"}), 2, "32");
  expect_error(mock({"run", "toy:counter", "--vcpus", "4294967295"}), 2, "host");
  expect_error(mock({"run", "toy:counter", "--vcpus", "4294967296"}), 2, "vcpus");
  expect_error(mock({"run", "toy:counter", "--memory", "1T"}), 2, "host");
  expect_error(mock({"run", "toy:counter", "--memory", "99999999T"}), 2, "too large");
  expect_error(mock({"run", "toy:counter", "--memory", "0"}), 2, "memory");
  expect_error(mock({"run", "toy:counter", "--memory", "9M"}), 2, "2");
  expect_error(mock({"run", "toy:counter", "--chunk", "3K", "--save", "x"}), 2, "chunk");
  expect_error(mock({"run", "toy:counter", "--chunk", "4M", "--save", "x"}), 2, "chunk");
  expect_error(
      mock({"run", "toy:counter", "--layout", "mappable", "--compress", "lz4", "--save", "x"}), 2,
      "packed");
  EXPECT_FALSE(exists(file("x")));
}

TEST_F(Faults, GuestsThatDoNotExistAreAnsweredWithThoseThatDo) {
  expect_error(mock({"run", "toy:nothing"}), 5, "counter");
  expect_error(mock({"run", "no-such-guest"}), 5, "no-such-guest");
  expect_error(mock({"run", "./no-such-file"}), 5, "no-such-file");
}

TEST_F(Faults, UnknownPoliciesAndTrackersAreAnsweredWithThoseThatExist) {
  save("warm");
  expect_error(mock({"restore", "warm", "--policy", "psychic"}), 2, "eager");
  expect_error(mock({"restore", "warm", "--tracker", "psychic"}), 2, "compare");
}

TEST_F(Faults, ADirectoryThatCannotBeWrittenIsNamed) {
  if (geteuid() == 0) {
    // Root ignores permission bits; a read-only mount it must obey.
    fs::create_directory(file("readonly"));
    if (mount("none", file("readonly").c_str(), "tmpfs", MS_RDONLY, "size=1m") != 0) {
      GTEST_SKIP() << "cannot mount a read-only file system here: " << strerror(errno);
    }
  } else {
    fs::create_directory(file("readonly"));
    chmod(file("readonly").c_str(), 0500);
  }
  expect_error(mock({"run", "toy:counter", "--memory", "16M", "--save", "readonly/warm"}), 5,
               "readonly");
  expect_error(mock({"run", "toy:counter", "--memory", "16M", "--save", "nowhere/warm"}), 5,
               "nowhere");
  umount2(file("readonly").c_str(), MNT_DETACH);
}

TEST_F(Faults, AFullDiskKeepsTheOldSnapshotAndLeavesNothing) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "mounting a small file system needs root";
  }
  fs::create_directory(file("small"));
  if (mount("none", file("small").c_str(), "tmpfs", 0, "size=256k") != 0) {
    GTEST_SKIP() << "cannot mount a file system here: " << strerror(errno);
  }
  save("small/warm", {"--layout", "packed", "--chunk", "4K"});
  const Outcome before = stasis({"inspect", "small/warm", "--json"});
  // Fill all but a little: the next save must run out in the middle.
  std::string filler(16384, 'x');
  for (int i = 0; i < 64; ++i) {
    std::FILE* out = std::fopen((file("small/filler")).c_str(), "ab");
    ASSERT_NE(out, nullptr);
    const bool full =
        std::fwrite(filler.data(), 1, filler.size(), out) != filler.size() || std::fflush(out) != 0;
    std::fclose(out);
    if (full) {
      break;
    }
  }
  fs::resize_file(file("small/filler"), fs::file_size(file("small/filler")) - 20000);
  const Outcome full = mock({"run", "toy:counter", "--memory", "16M", "--request", "two",
                             "--layout", "packed", "--save", "small/warm", "--force"});
  EXPECT_EQ(full.exit_code, 5) << full.err;
  EXPECT_THAT(full.err, HasSubstr("small"));
  EXPECT_THAT(full.err, HasSubstr("No space left"));
  EXPECT_EQ(stasis({"inspect", "small/warm", "--json"}).out, before.out);
  EXPECT_EQ(stasis({"verify", "small/warm"}).exit_code, 0);
  EXPECT_EQ(list(file("small")), (std::vector<std::string>{"filler", "warm"}));
  umount2(file("small").c_str(), MNT_DETACH);
}

TEST_F(Faults, WhatIsNotASnapshotIsNeverReplacedEvenByForce) {
  fs::create_directory(file("precious"));
  write_file(file("precious/thesis.txt"), "years of work");
  const Outcome outcome =
      mock({"run", "toy:counter", "--memory", "16M", "--save", "precious", "--force"});
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_EQ(read_file(file("precious/thesis.txt")), "years of work");
}

TEST_F(Faults, TextFromFilesCannotSteerATerminal) {
  save("warm");
  edit_manifest("warm", [](snapshot::Manifest& manifest) {
    manifest.labels.push_back({.key = "evil", .value = "\033[2J\033[31mred"});
  });
  const Outcome outcome = stasis({"inspect", "warm"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out.find('\033'), std::string::npos);
  EXPECT_THAT(outcome.out, HasSubstr("\\x1b[2J"));
}

}  // namespace
}  // namespace stasis::cli::test
