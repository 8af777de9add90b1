#include "ft/driver/view_log.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "tests/ft_driver/folder.h"

using namespace regroup;

namespace {

Decision next_of(const ViewLog& log) {
  Decision d;
  d.view.log = log.id();
  d.prev = log.last() ? log.last()->view.epoch : 0;
  d.view.epoch = d.prev + 1;
  d.view.members = {{{0, 0}, {1, 2}, 3, "somewhere"}, {{1, 0}, {3, 4}, 3, "elsewhere"}};
  d.trim = d.view.epoch * 10;
  d.reason = "test";
  return d;
}

void append(ViewLog& log, int n) {
  for (int i = 0; i < n; ++i) REQUIRE(log.append(next_of(log)).ok());
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// A log of three views; gives its bytes and where the last record begins.
std::string three_views(const std::string& path, std::size_t& last_record) {
  auto log = ViewLog::create(path, "g");
  REQUIRE(log.ok());
  append(*log, 2);
  last_record = std::filesystem::file_size(path);
  append(*log, 1);
  return read_file(path);
}

}  // namespace

TEST_CASE("what was appended is read back, with the same log id") {
  const test::Folder folder;
  const std::string path = folder.file("log");
  LogId id = 0;
  Decision last;
  {
    auto log = ViewLog::create(path, "g");
    REQUIRE(log.ok());
    CHECK(!log->last());
    append(*log, 3);
    id = log->id();
    last = *log->last();
  }
  auto again = ViewLog::open(path, "g");
  REQUIRE(again.ok());
  CHECK(again->id() == id);
  REQUIRE(again->last());
  CHECK(*again->last() == last);
  CHECK(!again->cut_torn_record());
  append(*again, 1);
  CHECK(again->last()->view.epoch == 4);
}

TEST_CASE("two logs never have the same id") {
  const test::Folder folder;
  CHECK(ViewLog::create(folder.file("a"), "g")->id() != ViewLog::create(folder.file("b"), "g")->id());
}

TEST_CASE("a second opener of the log is refused, as long as the first holds it") {
  const test::Folder folder;
  const std::string path = folder.file("log");
  {
    auto log = ViewLog::create(path, "g");
    REQUIRE(log.ok());
    const auto second = ViewLog::open(path, "g");
    REQUIRE(second.code() == Code::kRefused);
    CHECK(second.error().detail.find("in use") != std::string::npos);
  }
  CHECK(ViewLog::open(path, "g").ok());
}

TEST_CASE("a log is created once and opened only if it is there and of this group") {
  const test::Folder folder;
  const std::string path = folder.file("log");
  CHECK(ViewLog::open(path, "g").code() == Code::kSystem);
  CHECK(ViewLog::create(path, "g").ok());
  CHECK(ViewLog::create(path, "g").code() == Code::kRefused);
  CHECK(ViewLog::open(path, "h").code() == Code::kRefused);
  CHECK(ViewLog::create(folder.file("no/such/folder"), "g").code() == Code::kSystem);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);  // no half-made file stays
}

TEST_CASE("an emptied or foreign file is not a log") {
  const test::Folder folder;
  const std::string path = folder.file("log");
  for (const std::string& bytes : {std::string(), std::string(512, '\0'), std::string(2000, 'x')}) {
    write_file(path, bytes);
    CHECK(ViewLog::open(path, "g").code() == Code::kRefused);
    CHECK(read_file(path) == bytes);
  }
}

TEST_CASE("a torn last record is cut off at any byte, and the log goes on") {
  const test::Folder folder;
  const std::string path = folder.file("log");
  std::size_t last = 0;
  const std::string whole = three_views(path, last);
  for (std::size_t n = last + 1; n < whole.size(); ++n) {
    write_file(path, whole.substr(0, n));
    auto log = ViewLog::open(path, "g");
    INFO("cut at " << n);
    REQUIRE(log.ok());
    CHECK(log->cut_torn_record());
    REQUIRE(log->last());
    CHECK(log->last()->view.epoch == 2);
    append(*log, 1);
  }
  CHECK(ViewLog::open(path, "g")->last()->view.epoch == 3);
}

TEST_CASE("a last record whose bytes did not all reach the disk is cut off") {
  const test::Folder folder;
  const std::string path = folder.file("log");
  std::size_t last = 0;
  const std::string whole = three_views(path, last);
  std::string zeros = whole;
  std::fill(zeros.begin() + static_cast<std::ptrdiff_t>(last + 20), zeros.end(), '\0');
  std::string all_zeros = whole;
  std::fill(all_zeros.begin() + static_cast<std::ptrdiff_t>(last), all_zeros.end(), '\0');
  for (const std::string& bytes : {zeros, all_zeros}) {
    write_file(path, bytes);
    auto log = ViewLog::open(path, "g");
    REQUIRE(log.ok());
    CHECK((log->cut_torn_record() && log->last()->view.epoch == 2));
  }
}

TEST_CASE("damage anywhere before the last record refuses the log and changes nothing") {
  const test::Folder folder;
  const std::string path = folder.file("log");
  std::size_t last = 0;
  const std::string whole = three_views(path, last);
  for (std::size_t at = 0; at < last; ++at) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    write_file(path, bytes);
    INFO("byte " << at);
    CHECK(ViewLog::open(path, "g").code() == Code::kRefused);
    REQUIRE(read_file(path) == bytes);
  }
}

TEST_CASE("a record that is left out, or of another log, refuses the log") {
  const test::Folder folder;
  const std::string path = folder.file("log");
  std::size_t last = 0;
  const std::string whole = three_views(path, last);
  const std::size_t record = whole.size() - last;
  std::string gap = whole;
  gap.erase(512, record);
  write_file(path, gap);
  CHECK(ViewLog::open(path, "g").code() == Code::kRefused);
  std::size_t same = 0;
  const std::string other = three_views(folder.file("other"), same);
  write_file(path, whole.substr(0, 512) + other.substr(512));
  CHECK(ViewLog::open(path, "g").code() == Code::kRefused);
}

TEST_CASE("a write that fails ends the log: no later append is taken") {
  const test::Folder folder;
  const std::string path = folder.file("log");
  // A limit of the process: in a child, so that it is nobody else's.
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    auto log = ViewLog::create(path, "g");
    rlimit before{};
    if (!log || ::getrlimit(RLIMIT_FSIZE, &before) != 0) ::_exit(1);
    const rlimit limit{600, before.rlim_max};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(1);
    const bool first = log->append(next_of(*log)).ok();
    if (::setrlimit(RLIMIT_FSIZE, &before) != 0) ::_exit(1);  // the disk has room again: too late
    const bool second = log->append(next_of(*log)).ok();
    ::_exit(first || second || log->last() ? 2 : 0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  auto log = ViewLog::open(path, "g");  // what got to the disk is a torn record
  REQUIRE(log.ok());
  CHECK(!log->last());
}
