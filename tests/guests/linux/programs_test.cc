// Real programs over the system call layer, traced instead of in a VM, against their native selves.
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/guests/linux/traced_process.h"

namespace stasis::linux_guest {
namespace {

struct Program {
  std::string name;
  std::vector<std::string> command;  // The executable first.
  friend void PrintTo(const Program& program, std::ostream* out) { *out << program.name; }
};

std::string quoted(const std::vector<std::string>& command) {
  std::string text;
  for (const std::string& word : command) {
    std::string safe;
    for (const char letter : word) {
      safe += letter == '\'' ? "'\\''" : std::string(1, letter);
    }
    text += "'" + safe + "' ";
  }
  return text;
}

std::string native_output(const std::vector<std::string>& command) {
  const std::string line = "env -i PATH=/usr/bin HOME=/ LANG=C.UTF-8 " + quoted(command);
  FILE* const pipe = ::popen((line + " </dev/null 2>/dev/null").c_str(), "r");
  std::string output;
  std::array<char, 4096> piece{};
  for (std::size_t got = 0; (got = std::fread(piece.data(), 1, piece.size(), pipe)) != 0;) {
    output.append(piece.data(), got);
  }
  const int status = ::pclose(pipe);
  return output + "exit " + std::to_string(WEXITSTATUS(status));
}

class ProgramsTest : public ::testing::TestWithParam<Program> {
 protected:
  void start(const std::vector<std::string>& command) {
    if (!std::filesystem::exists(command[0])) {
      GTEST_SKIP() << command[0] << " is not installed";
    }
    config_.allow_read = {"/usr"};
    config_.arguments = command;
    config_.environment = {"PATH=/usr/bin", "HOME=/", "LANG=C.UTF-8"};
    config_.executable = std::filesystem::canonical(command[0]).string();
    config_.output = [this](int descriptor, std::string_view bytes) {
      (descriptor == 1 ? output_ : errors_) += bytes;
    };
    process_ = TracedProcess::start(config_.executable, command, config_.environment);
    if (process_ == nullptr) {
      GTEST_SKIP() << "this user may not trace a process";
    }
    make_kernel();
  }
  void make_kernel() {
    auto made = Kernel::create(config_, process_->memory());
    ASSERT_TRUE(made.has_value()) << made.error().to_string();
    kernel_ = *std::move(made);
  }
  std::string ending() { return output_ + "exit " + std::to_string(kernel_->exit_status().code); }
  KernelConfig config_;
  std::string output_, errors_;
  std::unique_ptr<TracedProcess> process_;
  std::unique_ptr<Kernel> kernel_;
};

TEST_P(ProgramsTest, SaysWhatItSaysNatively) {
  start(GetParam().command);
  if (IsSkipped()) {
    return;
  }
  ASSERT_EQ(process_->run(*kernel_), AfterTrap::kExited);
  EXPECT_EQ(ending(), native_output(GetParam().command))
      << errors_ << kernel_->exit_status().report;
}

INSTANTIATE_TEST_SUITE_P(
    Of, ProgramsTest,
    ::testing::Values(
        Program{"Echo", {"/usr/bin/echo", "hello"}}, Program{"False", {"/usr/bin/false"}},
        Program{"Sha256sum", {"/usr/bin/sha256sum", "/usr/bin/bash"}},
        Program{"Dash",
                {"/usr/bin/dash", "-c",
                 "cd /tmp; for i in 1 2 3; do echo $((i * i)); done; test -d /usr && pwd; exit 9"}},
        Program{"Sort", {"/usr/bin/sort", "-r", "/usr/share/common-licenses/BSD"}},
        Program{"Gzip", {"/usr/bin/gzip", "-c", "-n", "/usr/share/common-licenses/GPL-3"}},
        Program{"Find", {"/usr/bin/find", "/usr/share/common-licenses", "-type", "l"}},
        Program{"Perl", {"/usr/bin/perl", "-e", "print join(',', map { $_ * 2 } 1..10), \"\\n\""}},
        Program{"Python",
                {"/usr/bin/python3", "-c",
                 "import json, zlib, hashlib\n"
                 "print(json.dumps({'a': [1, 2]}), hashlib.sha256(b'x').hexdigest())"}},
        Program{"PythonThreads",
                {"/usr/bin/python3", "-c",
                 "import threading, queue, time\n"
                 "q = queue.Queue()\n"
                 "ts = [threading.Thread(target=lambda i=i: (time.sleep(i / 100), q.put(i)))"
                 " for i in range(4)]\n"
                 "[t.start() for t in ts]; [t.join() for t in ts]\n"
                 "print([q.get() for _ in ts])"}},
        Program{"PythonSignals",
                {"/usr/bin/python3", "-c",
                 "import signal, os, time\n"
                 "signal.signal(signal.SIGUSR1, lambda *a: print('handled', a[0]))\n"
                 "os.kill(os.getpid(), signal.SIGUSR1)\n"
                 "signal.signal(signal.SIGALRM, lambda *a: print('alarm'))\n"
                 "signal.setitimer(signal.ITIMER_REAL, 0.01); time.sleep(0.05); print('done')"}},
        Program{"PythonAsyncio",
                {"/usr/bin/python3", "-c",
                 "import asyncio\n"
                 "async def f():\n"
                 "  await asyncio.sleep(0.01)\n"
                 "  loop = asyncio.get_running_loop()\n"
                 "  return await loop.run_in_executor(None, lambda: 7)\n"
                 "print(asyncio.run(f()))"}},
        Program{"Lua", {"/usr/bin/lua5.4", "-e", "for i = 1, 3 do print(i, i ^ 2) end"}}),
    [](const auto& tested) { return tested.param.name; });

using FunctionsTest = ProgramsTest;

TEST_F(FunctionsTest, OneLineOfPythonAnswersAndGoesOnInANewKernel) {
  start({"/usr/bin/python3", "-c",
         "import json\n"
         "for line in open('/dev/stasis'):\n"
         "  with open('/dev/stasis', 'w') as out: print(json.loads(line)['n'] + 1, file=out)"});
  if (IsSkipped()) {
    return;
  }
  ASSERT_EQ(process_->run(*kernel_), AfterTrap::kWait) << errors_;
  for (int n = 0; n < 3; ++n) {
    EXPECT_TRUE(kernel_->wants_request());
    const auto state = kernel_->save();
    ASSERT_TRUE(state.has_value()) << state.error().to_string();
    make_kernel();
    const auto loaded = kernel_->load(*state, Kernel::StaleFiles::kRefuse);
    ASSERT_TRUE(loaded.has_value()) << loaded.error().to_string();
    const std::string request = "{\"n\": " + std::to_string(n) + "}";
    ASSERT_TRUE(kernel_->post_request(std::as_bytes(std::span(request))).has_value());
    ASSERT_EQ(process_->wake(*kernel_), AfterTrap::kWait) << errors_;
    const auto response = kernel_->take_response();
    ASSERT_TRUE(response.has_value());
    EXPECT_EQ(std::string(static_cast<const char*>(static_cast<const void*>(response->data())),
                          response->size()),
              std::to_string(n + 1) + "\n");
  }
}

}  // namespace
}  // namespace stasis::linux_guest
