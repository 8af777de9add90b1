#include "runtime/obs/flight_recorder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "base/fd.h"
#include "base/log.h"

namespace regroup {
namespace {

Error file_error(const char* what, const std::string& path) {
  return {Code::kSystem, std::string(what) + " " + path + ": " + std::strerror(errno)};
}

Status write_all(int fd, const std::string& text, const std::string& path) {
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t n = ::write(fd, text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return file_error("write", path);
    at += static_cast<std::size_t>(n);
  }
  return {};
}

}  // namespace

const char* name_of(Event event) {
  constexpr const char* names[] = {"submitted", "started", "placed",    "prepared", "committed", "released", "redone",
                                   "failed",    "step",    "wedge",     "install",  "suspect",   "restored", "cut",
                                   "evicted",   "link_up", "link_down", "timeout",  "ended"};
  static_assert(std::size(names) == static_cast<std::size_t>(Event::kCount));
  return event < Event::kCount ? names[static_cast<std::size_t>(event)] : "unknown";
}

FlightRecorder::FlightRecorder(std::size_t entries)
    : mask_(std::bit_ceil(std::max<std::size_t>(entries, 2)) - 1), slots_(new Slot[mask_ + 1]) {}

std::vector<FlightRecorder::Entry> FlightRecorder::entries() const {
  const TickClock::Pair until = clock_.pair();
  const std::uint64_t end = next_.load(std::memory_order_relaxed);
  const std::uint64_t begin = end > mask_ ? end - mask_ - 1 : 0;
  std::vector<Entry> out;
  out.reserve(static_cast<std::size_t>(end - begin));
  for (std::uint64_t ticket = begin; ticket < end; ++ticket) {
    const Slot& slot = slots_[ticket & mask_];
    const std::uint64_t check = slot.check.load(std::memory_order_relaxed);
    const std::uint64_t time = slot.time.load(std::memory_order_relaxed);
    const std::uint64_t op = slot.op.load(std::memory_order_relaxed);
    const std::uint64_t word = slot.word.load(std::memory_order_relaxed);
    if (check != check_of(ticket, time, op, word)) continue;
    out.push_back({clock_.ns_of(time, until), op, word >> 24, static_cast<Event>(word >> 16 & 0xff),
                   static_cast<std::uint16_t>(word & 0xffff)});
  }
  return out;
}

std::string FlightRecorder::dump() const {
  const std::vector<Entry> list = entries();
  const std::uint64_t recorded = next_.load(std::memory_order_relaxed);
  std::string label;
  for (const char c : label_)
    if (c >= ' ' && c != '"' && c != '\\') label += c;
  char line[256];
  std::snprintf(line, sizeof line,
                "{\"flight\":1,\"pid\":%d,\"recorded\":%" PRIu64 ",\"kept\":%zu,\"time_ns\":%" PRId64,
                static_cast<int>(::getpid()), recorded, list.size(), now().ns);
  std::string out = std::string(line) + ",\"who\":\"" + label + "\"}\n";
  out.reserve(out.size() + list.size() * 96);
  for (const Entry& e : list) {
    std::snprintf(line, sizeof line,
                  "{\"time_ns\":%" PRId64 ",\"event\":\"%s\",\"op\":%" PRIu64 ",\"epoch\":%" PRIu64 ",\"arg\":%u}\n",
                  e.time_ns, name_of(e.event), e.op, e.epoch, unsigned{e.arg});
    out += line;
  }
  return out;
}

Status FlightRecorder::dump_to(const std::string& path) const {
  const std::string text = dump();
  const std::string beside = path + ".part";
  Fd fd(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) return file_error("open", beside);
  Status written = write_all(fd.get(), text, beside);
  if (written.ok() && ::rename(beside.c_str(), path.c_str()) != 0) written = file_error("rename", path);
  if (!written.ok()) ::unlink(beside.c_str());
  return written;
}

Status FlightRecorder::trace_to(std::string path) {
  path_ = std::move(path);
  signal_.reset();
  if (path_.empty()) return {};
  Result<std::unique_ptr<DumpSignal>> signal = DumpSignal::install();
  if (!signal.ok()) return signal.error();
  signal_ = std::move(signal).value();
  return {};
}

bool FlightRecorder::tick() {
  const bool signalled = signal_ != nullptr && signal_->taken();
  const bool requested = requested_.load(std::memory_order_relaxed) && requested_.exchange(false);
  if (path_.empty() || (!signalled && !requested)) return false;
  const Status written = dump_to(path_);
  if (!written.ok() && !write_failed_) log::warn("flight_dump_failed", written.error().detail);
  write_failed_ = !written.ok();
  return written.ok();
}

std::string trace_path(const std::string& prefix, int rank) {
  return prefix + ".rank-" + std::to_string(rank) + ".pid-" + std::to_string(::getpid()) + ".jsonl";
}

}  // namespace regroup
