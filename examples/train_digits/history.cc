#include "examples/train_digits/history.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

namespace digits {
namespace {

using nlohmann::json;

std::int64_t monotonic_ns() {
  timespec ts{};
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<std::int64_t>(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec;
}

std::string hex(std::uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

json replicas(const regroup::ViewInfo& view) {
  json list = json::array();
  for (const regroup::MemberId& id : view.members) list.push_back(id.replica);
  return list;
}

std::string line(const char* event, json fields) {
  fields["e"] = event;
  fields["t"] = monotonic_ns();
  return fields.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

History::~History() {
  if (fd_ >= 0) ::close(fd_);
}

regroup::Status History::open(const std::string& folder, int replica) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return {regroup::Code::kSystem, "cannot make the history folder " + folder + ": " + error.message()};
  const std::string path = folder + "/replica" + std::to_string(replica) + "-" + std::to_string(monotonic_ns()) + "-" +
                           std::to_string(::getpid()) + ".jsonl";
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) return {regroup::Code::kSystem, "cannot make the history file " + path + ": " + std::strerror(errno)};
  write(line("start", {{"replica", replica}, {"pid", ::getpid()}}));
  return {};
}

void History::write(std::string line) {
  if (fd_ < 0) return;
  const std::lock_guard lock(mutex_);
  std::size_t done = 0;
  while (done < line.size()) {
    const ssize_t n = ::write(fd_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      std::fprintf(stderr, "train_digits: cannot write the history: %s\n", std::strerror(errno));
      std::exit(1);
    }
    done += static_cast<std::size_t>(n);
  }
}

void History::join(const char* event, std::uint64_t step, const regroup::ViewInfo& view, double restore_s,
                   std::uint64_t digest) {
  write(line(event, {{"step", step},
                     {"epoch", view.epoch},
                     {"members", replicas(view)},
                     {"transport", view.transport},
                     {"restore_ms", restore_s * 1e3},
                     {"digest", hex(digest)}}));
}

void History::submit(std::uint64_t step) { write(line("submit", {{"step", step}})); }

void History::commit(std::uint64_t step, const Committed& committed, std::uint64_t digest, double loss) {
  write(line("commit", {{"step", step},
                        {"epoch", committed.epoch},
                        {"members", committed.members},
                        {"ops", committed.ops},
                        {"contributors", committed.contributors},
                        {"attempts", committed.attempts},
                        {"digest", hex(digest)},
                        {"loss", loss}}));
}

void History::evicted(std::uint64_t step, const std::string& why) {
  write(line("evicted", {{"step", step}, {"why", why}}));
}

void History::view(const regroup::ViewInfo& view) {
  write(line("view", {{"epoch", view.epoch}, {"members", replicas(view)}, {"reason", view.reason}}));
}

void History::final(std::uint64_t step, std::uint64_t digest, const Network::Score& score) {
  write(line("final", {{"step", step}, {"digest", hex(digest)}, {"accuracy", score.accuracy}, {"loss", score.loss}}));
}

void History::left() { write(line("left", json::object())); }

void History::error(const std::string& text) { write(line("error", {{"text", text}})); }

}  // namespace digits
