// The file that keeps what trackers cost on a host, and what becomes of a bad one.
#include "session/calibration.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "session/backends.h"
#include "session/calibration_file.h"
#include "snapshot/trackers/tracker_choice.h"

namespace stasis::session {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class CalibrationFile : public ::testing::Test {
 protected:
  CalibrationFile() {
    std::string pattern = ::testing::TempDir() + "/calibration.XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  ~CalibrationFile() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] std::string path() const { return directory_ + "/stasis/trackers-kvm.json"; }
  void write_good() const {
    const auto written = write_calibration(path(), costs_, facts_);
    ASSERT_TRUE(written) << written.error().message;
  }
  [[nodiscard]] std::string text() const {
    std::ifstream file(path());
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void replace(const std::string& what, const std::string& with) const {
    std::string all = text();
    const std::size_t at = all.find(what);
    ASSERT_NE(at, std::string::npos) << all;
    std::ofstream(path(), std::ios::trunc) << all.replace(at, what.size(), with);
  }
  void expect_refused(Errc code, const std::string& because) const {
    const auto read = read_calibration(path(), facts_);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, code) << read.error().message;
    EXPECT_THAT(read.error().message, AllOf(HasSubstr(path()), HasSubstr(because)));
  }

  std::string directory_;
  snapshot::CostTable costs_{"",
                             {{"dirty-log", {.arm_ns = 1.5, .first_write_ns = 3000.25}},
                              {"compare-hash", {.collect_page_ns = 40}}}};
  CalibrationFacts facts_{{"release", "6.18"}, {"backend", "kvm"}};
};

TEST_F(CalibrationFile, ComesBackAsItWasWithItsSource) {
  write_good();
  write_good();  // Replaces.
  const auto read = read_calibration(path(), facts_);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->trackers, costs_.trackers);
  EXPECT_THAT(read->source, AllOf(HasSubstr("calibrated"), HasSubstr(path())));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_ + "/stasis"), {}), 1)
      << "nothing is left beside it";
}

TEST_F(CalibrationFile, IsRefusedHoweverItIsCutShort) {
  write_good();
  const std::string whole = text();
  for (std::size_t length = 0; length + 2 < whole.size(); ++length) {  // Brace and line feed.
    std::ofstream(path(), std::ios::trunc) << whole.substr(0, length);
    const auto read = read_calibration(path(), facts_);
    ASSERT_FALSE(read) << length;
    ASSERT_EQ(read.error().code, Errc::kCorruption) << read.error().message;
    ASSERT_THAT(read.error().message, HasSubstr("doctor --calibrate"));
  }
}

TEST_F(CalibrationFile, OfAnotherFormatHostOrShapeIsRefusedByName) {
  expect_refused(Errc::kNotFound, "does not exist");
  write_good();
  replace("\"format\": 1", "\"format\": 2");
  expect_refused(Errc::kCorruption, "field format");
  write_good();
  replace("6.18", "6.19");
  expect_refused(Errc::kMismatch, "release '6.19', and now it is '6.18'");
  write_good();
  replace("\"release\"", "\"relase\"");
  expect_refused(Errc::kCorruption, "host.release");
  write_good();
  replace("3000.25", "\"fast\"");
  expect_refused(Errc::kCorruption, "trackers.dirty-log.first_write_ns");
  write_good();
  replace("3000.25", "-3000.25");
  expect_refused(Errc::kCorruption, "trackers.dirty-log");
  write_good();
  replace("3000.25", "1e300");
  expect_refused(Errc::kCorruption, "trackers.dirty-log");
  std::ofstream(path(), std::ios::trunc) << "[1]";
  expect_refused(Errc::kCorruption, "not a JSON object");
  std::ofstream(path(), std::ios::trunc) << std::string(100'000, '[');
  expect_refused(Errc::kCorruption, "100000 bytes");
  std::ofstream(path(), std::ios::trunc) << std::string(60'000, '[');
  expect_refused(Errc::kCorruption, "not a JSON object");
}

TEST_F(CalibrationFile, ThatCannotBeWrittenSaysWhere) {
  std::ofstream(directory_ + "/stasis") << "in the way";
  const auto written = write_calibration(path(), costs_, facts_);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Errc::kIo);
  EXPECT_THAT(written.error().message, AllOf(HasSubstr(path()), HasSubstr("XDG_CACHE_HOME")));
}

// The environment is the process's: one test alone touches it.
TEST_F(CalibrationFile, LiesInTheUsersCacheAndWithoutItTheBuiltInFiguresHold) {
  Capabilities capabilities;
  capabilities.kind = BackendKind::kKvm;
  ::setenv("XDG_CACHE_HOME", directory_.c_str(), 1);
  EXPECT_EQ(calibration_path(capabilities), path());
  KnownCosts known = known_costs(capabilities);
  EXPECT_THAT(known.not_calibrated_because, HasSubstr("does not exist"));
  EXPECT_THAT(known.costs.source, AllOf(HasSubstr("built in"), HasSubstr("does not exist")));
  EXPECT_EQ(known.costs.trackers, snapshot::builtin_costs().trackers);

  facts_ = calibration_facts(capabilities);
  write_good();
  known = known_costs(capabilities);
  EXPECT_EQ(known.not_calibrated_because, "");
  EXPECT_EQ(known.costs.trackers, costs_.trackers);

  ::setenv("XDG_CACHE_HOME", "relative", 1);
  ::setenv("HOME", directory_.c_str(), 1);
  EXPECT_EQ(calibration_path(capabilities), directory_ + "/.cache/stasis/trackers-kvm.json");
  ::unsetenv("HOME");
  EXPECT_EQ(calibration_path(capabilities), "");
  EXPECT_THAT(known_costs(capabilities).not_calibrated_because, HasSubstr("HOME"));
}

TEST(Calibration, OfABackendWithoutBareGuestsIsRefused) {
  const auto backend = make_backend("mock");
  ASSERT_TRUE(backend);
  const auto calibrated = calibrate_trackers(**backend, {});
  ASSERT_FALSE(calibrated);
  EXPECT_EQ(calibrated.error().code, Errc::kNotSupported);
  EXPECT_THAT(calibrated.error().message, HasSubstr("mock"));
}

}  // namespace
}  // namespace stasis::session
