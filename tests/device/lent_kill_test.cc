// Device memory of a process that is killed while another one reads it: the reader reads on, and its device is whole. On the host
// device in every run; on a GPU, for which CUDA promises nothing, by `make gpu-test PART=kills`.
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "kernels/launches.h"
#include "kernels/open_device.h"

using namespace regroup;
using namespace regroup::device;

namespace {

constexpr std::size_t kWords = 4u << 20;
constexpr int kSaysOn = 3;  // the lender's pipe
constexpr Duration kBound = Duration::from_s(20);

std::string device_name() {
  const char* named = std::getenv("REGROUP_TEST_DEVICE");
  return named != nullptr ? named : "host";
}

std::uint32_t value(std::uint32_t seed, std::size_t i) { return static_cast<std::uint32_t>(i * 2654435761u + seed); }

// Pinned memory of a device with the words that `seed` makes.
std::uint32_t* made(Device& device, std::uint32_t seed) {
  auto* words = static_cast<std::uint32_t*>(*device.allocate(Memory::kPinned, kWords * 4));
  for (std::size_t i = 0; i < kWords; ++i) words[i] = value(seed, i);
  return words;
}

struct Lender {
  pid_t process = -1;
  Loan loan;
  explicit Lender(std::uint32_t seed) {
    int ends[2];
    if (::pipe(ends) != 0) return;
    process = ::fork();
    if (process == 0) {  // at once another program: the device's threads are not here
      ::dup2(ends[1], kSaysOn);
      ::setenv("REGROUP_TEST_LENDER", std::to_string(seed).c_str(), 1);
      ::execl("/proc/self/exe", "lender", "[.lender]", nullptr);
      ::_exit(127);
    }
    ::close(ends[1]);
    if (::read(ends[0], &loan, sizeof loan) != sizeof loan) loan.maker = 0;
    ::close(ends[0]);
  }
  ~Lender() { kill(); }
  void kill() {
    if (process <= 0) return;
    ::kill(process, SIGKILL);
    ::waitpid(process, nullptr, 0);
    process = -1;
  }
};

}  // namespace

TEST_CASE("a process that lends", "[.lender]") {
  const auto device = open_device(device_name()).value();
  void* memory = *device->allocate(Memory::kDevice, kWords * 4);
  const auto stream = device->make_stream().value();
  const std::uint32_t* words = made(*device, static_cast<std::uint32_t>(std::atoi(std::getenv("REGROUP_TEST_LENDER"))));
  REQUIRE(stream->copy(memory, words, kWords * 4).ok());
  REQUIRE(stream->finish(now() + kBound).ok());
  const Loan loan = *device->lend(memory);
  REQUIRE(::write(kSaysOn, &loan, sizeof loan) == sizeof loan);
  ::alarm(60);
  for (;;) ::pause();
}

TEST_CASE("who reads device memory of a process reads on when that is killed") {
  const auto device = open_device(device_name()).value();
  const auto stream = device->make_stream().value();
  void* mine = *device->allocate(Memory::kDevice, kWords * 4);
  auto* seen = static_cast<std::uint32_t*>(*device->allocate(Memory::kPinned, kWords * 4));
  for (std::uint32_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    Lender lender(seed);
    REQUIRE(lender.loan.maker != 0);
    const Result<const std::byte*> opened = device->open(lender.loan);
    REQUIRE(opened.ok());
    const std::byte* from = *opened + lender.loan.offset;
    const auto read = [&] {
      Reduce fold{DataType::kU32, ReduceOp::kSum, 1, 2, kWords, {mine}, {from, from}};
      return stream->launch(launch_of(fold, 8)).ok() && stream->copy(mine, from, kWords * 4).ok();
    };
    for (int i = 0; i < 20; ++i) REQUIRE(read());  // queued, some of them under way when it dies
    lender.kill();
    for (int i = 0; i < 20; ++i) REQUIRE(read());
    REQUIRE(stream->copy(seen, mine, kWords * 4).ok());
    REQUIRE(stream->finish(now() + kBound).ok());
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < kWords; ++i) wrong += seen[i] != value(seed, i);
    CHECK(wrong == 0);
    device->close(*opened);
    if (device_name() == "host") CHECK(device->open(lender.loan).code() == Code::kUnavailable);  // the dead lend nothing
    CHECK(device->health().ok());
  }
  device->free(Memory::kDevice, mine);
  device->free(Memory::kPinned, seen);
}
