#include "runtime/obs/flight_recorder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/rng.h"

using namespace regroup;

namespace {

struct TempDir {
  std::string path = [] {
    char name[] = "/tmp/rg-obs-XXXXXX";
    return std::string(::mkdtemp(name));
  }();
  ~TempDir() { [[maybe_unused]] const int rc = std::system(("rm -r '" + path + "'").c_str()); }
};

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<nlohmann::json> lines_of(const std::string& text) {
  std::vector<nlohmann::json> out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    out.push_back(nlohmann::json::parse(text.substr(at, end - at)));
    at = end + 1;
  }
  return out;
}

volatile std::sig_atomic_t earlier_calls = 0;
void earlier_handler(int) { earlier_calls = earlier_calls + 1; }

}  // namespace

TEST_CASE("events come back in order with what was recorded") {
  FlightRecorder recorder(16);
  const std::int64_t before = now().ns;
  recorder.record(Event::kSubmitted, 7, 2);
  recorder.record(Event::kInstall, (1ull << 40) + 5, (1ull << 39) + 1, 65535);
  const std::int64_t after = now().ns;
  const auto list = recorder.entries();
  REQUIRE(list.size() == 2);
  CHECK((list[0].event == Event::kSubmitted && list[0].op == 7 && list[0].epoch == 2 && list[0].arg == 0));
  CHECK((list[1].event == Event::kInstall && list[1].op == (1ull << 40) + 5 && list[1].epoch == (1ull << 39) + 1));
  CHECK(list[1].arg == 65535);
  CHECK(list[0].time_ns <= list[1].time_ns);
  // Stamps of the counter are turned into CLOCK_MONOTONIC: within a millisecond of what the clock said around them.
  CHECK(list[0].time_ns >= before - 1'000'000);
  CHECK(list[1].time_ns <= after + 1'000'000);
}

TEST_CASE("a full ring keeps the newest events, oldest first") {
  FlightRecorder recorder(5);  // rounded up to 8
  for (OpId op = 1; op <= 21; ++op) recorder.record(Event::kCommitted, op, 1);
  const auto list = recorder.entries();
  REQUIRE(list.size() == 8);
  for (std::size_t i = 0; i < 8; ++i) CHECK(list[i].op == 14 + i);
  const auto lines = lines_of(recorder.dump());
  CHECK(lines.at(0).at("recorded") == 21);
  CHECK(lines.at(0).at("kept") == 8);
  CHECK(lines.size() == 9);
}

TEST_CASE("the dump is JSON lines with a head, whatever the label holds") {
  FlightRecorder recorder(8);
  recorder.set_label("rank=2 \"x\\\n");
  for (int i = 0; i < static_cast<int>(Event::kCount); ++i) recorder.record(static_cast<Event>(i), 1, 1);
  const auto lines = lines_of(recorder.dump());
  CHECK(lines.at(0).at("who") == "rank=2 x");
  CHECK(lines.at(0).at("pid") == ::getpid());
  CHECK(lines.back().at("event") == "ended");
}

TEST_CASE("a torn entry is never shown while several threads record and one reads") {
  FlightRecorder recorder(2);  // always being overwritten
  std::atomic<bool> stop{false};
  // op determines epoch and arg: a mixture of two events would show.
  const auto write = [&](std::uint64_t seed) {
    for (Rng rng(seed); !stop.load(std::memory_order_relaxed);) {
      const OpId op = rng.next();
      recorder.record(Event::kPlaced, op, (op * 3) >> 24, static_cast<std::uint16_t>(op >> 5));
    }
  };
  std::thread a(write, 1), b(write, 2);
  std::size_t seen = 0, wrong = 0;
  const Instant bound = now() + Duration::from_s(20);
  while (seen < 2'000'000 && now() < bound)
    for (const auto& e : recorder.entries()) {
      ++seen;
      wrong += e.epoch != ((e.op * 3) >> 24) || e.arg != static_cast<std::uint16_t>(e.op >> 5);
    }
  stop = true;
  a.join(), b.join();
  CHECK(seen > 0);
  CHECK(wrong == 0);
}

TEST_CASE("a tick writes the trace file once for every request") {
  const TempDir dir;
  FlightRecorder recorder(8);
  const std::string path = dir.path + "/trace.jsonl";
  recorder.record(Event::kSubmitted, 1, 1);
  recorder.request_dump();
  CHECK_FALSE(recorder.tick());  // no file was asked for: the request is forgotten
  REQUIRE(recorder.trace_to(path).ok());
  CHECK_FALSE(recorder.tick());
  recorder.request_dump();
  CHECK(recorder.tick());
  CHECK_FALSE(recorder.tick());
  CHECK(lines_of(read_file(path)).size() == 2);
  struct stat st {};
  CHECK(::stat((path + ".part").c_str(), &st) != 0);
}

TEST_CASE("a trace file that cannot be written is an error and leaves nothing") {
  FlightRecorder recorder(8);
  const Status status = recorder.dump_to("/proc/nowhere/trace");
  CHECK(status.code() == Code::kSystem);
  CHECK(status.error().detail.find("/proc/nowhere/trace") != std::string::npos);
}

TEST_CASE("SIGUSR1 makes every tracing recorder of the process dump, and the earlier handler is called and restored") {
  const TempDir dir;
  struct sigaction mine {
  }, saved{}, current{};
  mine.sa_handler = earlier_handler;
  ::sigaction(SIGUSR1, &mine, &saved);
  earlier_calls = 0;
  {
    FlightRecorder one(8), two(8), untraced(8);
    REQUIRE(one.trace_to(dir.path + "/one").ok());
    REQUIRE(two.trace_to(dir.path + "/two").ok());
    CHECK_FALSE(one.tick());
    ::raise(SIGUSR1);
    ::raise(SIGUSR1);
    CHECK(earlier_calls == 2);
    CHECK(one.tick());
    CHECK(two.tick());
    CHECK_FALSE(one.tick());
    CHECK_FALSE(untraced.tick());
    REQUIRE(one.trace_to("").ok());  // the other still listens
    ::raise(SIGUSR1);
    CHECK(two.tick());
  }
  ::sigaction(SIGUSR1, nullptr, &current);
  CHECK(current.sa_handler == earlier_handler);
  ::raise(SIGUSR1);
  CHECK(earlier_calls == 4);
  ::sigaction(SIGUSR1, &saved, nullptr);
}

TEST_CASE("a signal before the trace was asked for does not dump") {
  const TempDir dir;
  FlightRecorder first(8), second(8);
  REQUIRE(first.trace_to(dir.path + "/first").ok());
  ::raise(SIGUSR1);
  REQUIRE(second.trace_to(dir.path + "/second").ok());
  CHECK_FALSE(second.tick());
  CHECK(first.tick());
}

TEST_CASE("recording costs little", "[.time]") {
  FlightRecorder recorder;
  constexpr int kEvents = 20'000'000;
  const Instant begin = now();
  for (int i = 0; i < kEvents; ++i) recorder.record(Event::kCommitted, static_cast<OpId>(i), 1);
  WARN("ns per event: " << static_cast<double>((now() - begin).ns) / kEvents);
}
