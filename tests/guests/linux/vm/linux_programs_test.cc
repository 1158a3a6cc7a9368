// Programs of Linux in a VM, over the test's own kernel.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kvm/probe.h"
#include "tests/guests/linux/vm/running_process.h"
#include "tests/guests/linux/vm/test_kernel.h"
#include "tests/support/must.h"

namespace stasis::linux_guest::vm {
namespace {

using testing::HasSubstr;

class LinuxProgramsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto backend = kvm::make_backend({});
    if (!backend) {
      GTEST_SKIP() << backend.error().to_string();
    }
    backend_ = *std::move(backend);
  }
  std::unique_ptr<RunningProcess> start(const std::string& name, RunOptions options = {}) {
    options.kernel = make_test_kernel;
    return must(RunningProcess::start(*backend_, LINUX_PROGRAMS + name, options));
  }
  std::unique_ptr<HypervisorBackend> backend_;
};

TEST_F(LinuxProgramsTest, AStaticProgramPrintsItsArgumentsAndExits) {
  auto process = start("hello_static", {.arguments = {"one", "two"}});
  EXPECT_EQ(must(process->run_to_exit()), 3U);
  EXPECT_THAT(process->output(), HasSubstr("hello_static with 2 arguments\n"));
}

TEST_F(LinuxProgramsTest, AStaticPositionIndependentProgramRuns) {
  auto process = start("hello_static_pie");
  EXPECT_EQ(must(process->run_to_exit()), 1U);
  EXPECT_THAT(process->output(), HasSubstr("hello_static_pie with 0 arguments\n"));
}

TEST_F(LinuxProgramsTest, ADynamicProgramRunsThroughItsInterpreter) {
  auto process = start("hello_dynamic", {.arguments = {"x"}});
  EXPECT_EQ(must(process->run_to_exit()), 2U);
  EXPECT_THAT(process->output(), HasSubstr("hello_dynamic with 1 arguments\n"));
}

// ---- What goes wrong ----

Error failure_of(HypervisorBackend& backend, const std::string& program, RunOptions options = {}) {
  options.kernel = make_test_kernel;
  auto started = RunningProcess::start(backend, program, options);
  if (started) {
    ADD_FAILURE() << program << " started";
    return {};
  }
  return started.error();
}

std::string write_file(const std::string& name, std::string_view content) {
  const std::string path = testing::TempDir() + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_F(LinuxProgramsTest, WhatIsNoProgramIsRefusedByName) {
  const auto refuse = [this](const std::string& content) {
    const std::string path = write_file("linux_program", content);
    Error error = failure_of(*backend_, path);
    EXPECT_THAT(error.message, HasSubstr(path));
    std::filesystem::remove(path);
    return error;
  };
  const std::string good = read_file(LINUX_PROGRAMS "hello_static");
  EXPECT_THAT(refuse("").message, HasSubstr("not an ELF program"));
  EXPECT_THAT(refuse("#!/bin/sh\n").message, HasSubstr("a script"));
  EXPECT_THAT(refuse("hello").message, HasSubstr("not an ELF program"));
  EXPECT_EQ(refuse(good.substr(0, 40)).code, Errc::kCorruption);
  EXPECT_EQ(refuse(good.substr(0, 100)).code, Errc::kCorruption);
  EXPECT_THAT(refuse(good.substr(0, good.size() / 2)).message, HasSubstr("truncated"));
  std::string changed = good;
  changed[18] = '\xb7';  // e_machine
  EXPECT_THAT(refuse(changed).message, HasSubstr("a program for arm64"));
  changed = good;
  changed[4] = 1;  // EI_CLASS
  EXPECT_THAT(refuse(changed).message, HasSubstr("32-bit"));
  changed = good;
  changed[16] = 1;  // e_type
  EXPECT_THAT(refuse(changed).message, HasSubstr("object file"));
}

TEST_F(LinuxProgramsTest, DamagedHeadersAreRefusedOrRunButNeverHarmful) {
  const std::string good = read_file(LINUX_PROGRAMS "hello_static");
  const std::string path = testing::TempDir() + "linux_damaged";
  for (std::size_t at = 16; at < 64 + 56 * 6; at += 3) {
    std::string changed = good;
    changed[at] = static_cast<char>(changed[at] ^ 0x81);
    std::ofstream(path, std::ios::binary) << changed;
    RunOptions options{.kernel = make_test_kernel};
    auto started = RunningProcess::start(*backend_, path, options);
    if (!started) {
      EXPECT_THAT(started.error().message, HasSubstr(path)) << at;
    }
  }
  std::filesystem::remove(path);
}

TEST_F(LinuxProgramsTest, AMissingProgramOrInterpreterIsNamed) {
  EXPECT_EQ(failure_of(*backend_, "/nowhere/at/all").code, Errc::kNotFound);
  std::string changed = read_file(LINUX_PROGRAMS "hello_dynamic");
  const std::size_t at = changed.find("/lib64/ld-linux");
  ASSERT_NE(at, std::string::npos);
  changed[at + 1] = 'X';
  const std::string path = write_file("linux_interpreter", changed);
  const Error missing = failure_of(*backend_, path);
  EXPECT_EQ(missing.code, Errc::kNotFound);
  EXPECT_THAT(missing.message, HasSubstr("'/Xib64/ld-linux"));
  std::filesystem::remove(path);
  const Error forbidden =
      failure_of(*backend_, LINUX_PROGRAMS "hello_dynamic", {.allow_read = {"/usr/share"}});
  EXPECT_THAT(forbidden.message, HasSubstr("--allow-read"));
}

TEST_F(LinuxProgramsTest, ArgumentsThatAreTooLongAreRefused) {
  const std::string program = LINUX_PROGRAMS "hello_static";
  EXPECT_THAT(failure_of(*backend_, program, {.arguments = {std::string(200'000, 'a')}}).message,
              HasSubstr("128 KiB"));
  const std::vector<std::string> many(30, std::string(100'000, 'a'));
  EXPECT_THAT(failure_of(*backend_, program, {.arguments = many}).message, HasSubstr("2 MiB"));
}

TEST_F(LinuxProgramsTest, LongArgumentsArriveWhole) {
  const std::vector<std::string> arguments(15, std::string(100'000, 'a'));
  auto process = start("hello_static", {.arguments = arguments});
  EXPECT_EQ(must(process->run_to_exit()), 16U);
}

TEST_F(LinuxProgramsTest, ASegmentationFaultEndsWithTheKernelsReport) {
  auto process = start("misbehave", {.arguments = {"null"}});
  const auto outcome = process->run_to_exit();
  ASSERT_FALSE(outcome);
  EXPECT_THAT(outcome.error().message, HasSubstr("vector 14"));
}

TEST_F(LinuxProgramsTest, ExceptionsArriveWithTheirVector) {
  for (const auto& [what, vector] :
       std::map<std::string, std::string>{{"divide", "vector 0 "},
                                          {"illegal", "vector 6 "},
                                          {"privileged", "vector 13 "},
                                          {"breakpoint", "vector 3 "},
                                          {"noncanonical", "vector 13 "}}) {
    auto process = start("misbehave", {.arguments = {what}});
    const auto outcome = process->run_to_exit();
    ASSERT_FALSE(outcome) << what;
    EXPECT_THAT(outcome.error().message, HasSubstr(vector)) << what;
  }
}

TEST_F(LinuxProgramsTest, AGuestWithoutMemoryLeftSaysHowMuchItHad) {
  auto process = start("misbehave", {.arguments = {"memory"}});
  const auto outcome = process->run_to_exit();
  ASSERT_FALSE(outcome);
  EXPECT_THAT(outcome.error().message, HasSubstr("out of memory"));
}

// ---- Saved and restored ----

TEST_F(LinuxProgramsTest, ASaveAnywhereGoesOnToTheSameEnd) {
  auto reference = start("counter");
  ASSERT_EQ(must(reference->run_to_exit()), 0U);
  const std::string expected = reference->output();
  ASSERT_THAT(expected, HasSubstr("end "));
  for (std::size_t stop = 0; stop < expected.size(); stop += expected.size() / 12) {
    auto process = start("counter");
    while (process->output().size() < stop) {
      std::this_thread::yield();
    }
    must(process->machine().pause(std::chrono::seconds(10)));
    auto copy = must(process->clone(*backend_, make_test_kernel));
    must(copy->machine().pause(std::chrono::seconds(10)));
    auto second = must(copy->clone(*backend_, make_test_kernel));
    EXPECT_EQ(must(second->run_to_exit()), 0U);
    EXPECT_EQ(must(copy->run_to_exit()), 0U);
    EXPECT_EQ(must(process->run_to_exit()), 0U);
    EXPECT_EQ(process->output(), expected);
    EXPECT_EQ(copy->output(), expected);
    EXPECT_EQ(second->output(), expected);
  }
}

TEST_F(LinuxProgramsTest, ASleeperWakesByItselfAlsoInACopy) {
  auto process = start("misbehave", {.arguments = {"sleep"}});
  while (process->output().find("sleeping") == std::string::npos) {
    std::this_thread::yield();
  }
  must(process->machine().pause(std::chrono::seconds(10)));
  auto copy = must(process->clone(*backend_, make_test_kernel));
  EXPECT_EQ(must(copy->run_to_exit()), 0U);
  EXPECT_EQ(must(process->run_to_exit()), 0U);
}

TEST_F(LinuxProgramsTest, DamagedStatesAreRefusedOrHarmless) {
  auto process = start("prober");
  ASSERT_EQ(must(process->next_event()).kind, MachineEvent::Kind::kReady);
  must(process->machine().pause(std::chrono::seconds(10)));
  const DeviceState good = must(process->process().save_state());
  const auto load = [](const DeviceState& state) {
    auto fresh = LinuxProcess::create_for_restore(
        {.make_kernel = make_test_kernel, .output = [](int, std::string_view) {}});
    return fresh->load_state(state);
  };
  EXPECT_TRUE(load(good));
  for (std::size_t size = 0; size < good.bytes.size(); size += 7) {
    DeviceState cut = good;
    cut.bytes.resize(size);
    EXPECT_FALSE(load(cut)) << size;
  }
  for (std::size_t at = 0; at < good.bytes.size(); ++at) {
    DeviceState flipped = good;
    flipped.bytes[at] ^= std::byte{0xff};
    static_cast<void>(load(flipped));  // Anything but a crash.
  }
}

}  // namespace
}  // namespace stasis::linux_guest::vm
