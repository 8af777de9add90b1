// The view log's file (ft/driver/view_log.h). First byte: 1 gives the header its right checksum, 2 a right header; 4:
// what follows the header is a list of payloads (two bytes length, bytes) that get right records around them, the last
// one cut short where 8 is set; 16: a payload is a script for a decision that fits. Otherwise the bytes stand as they
// are. Held: a file that was opened opens again with the same content and nothing left to cut, takes the next decision,
// and has it when it is opened once more; one that is refused is left as it was.
#include "ft/driver/view_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "base/bytes.h"
#include "ft/driver/codec.h"
#include "tests/fuzz/source.h"
#include "transport/wire/frame.h"

using namespace regroup;

namespace {

constexpr std::uint32_t kMagic = 0x4c564752;
constexpr std::size_t kHeaderBytes = 512;
constexpr LogId kId = 77;
constexpr const char* kGroup = "g";
using Bytes = std::vector<std::byte>;

void append(Bytes& out, std::span<const std::byte> more) { out.insert(out.end(), more.begin(), more.end()); }

Bytes header(fuzz::Source& source, bool right) {
  Bytes bytes;
  if (right) {
    Writer w;
    w.u32(kMagic), w.u32(1), w.u64(kId), w.text(kGroup);
    bytes = w.take();
  } else {
    append(bytes, fuzz::bytes_of(source.take(source.u8())));
  }
  bytes.resize(kHeaderBytes - 8);
  Writer sum;
  sum.u64(wire::checksum(bytes));
  append(bytes, sum.bytes());
  return bytes;
}

Bytes record(std::span<const std::byte> payload) {
  const auto length = static_cast<std::uint32_t>(payload.size());
  Writer size, w;
  size.u32(length);
  w.u32(length), w.u32(static_cast<std::uint32_t>(wire::checksum(size.bytes())) ^ kMagic),
      w.u64(wire::checksum(payload));
  Bytes bytes = w.take();
  append(bytes, payload);
  return bytes;
}

Decision decision(fuzz::Source& source, Epoch epoch) {
  Decision d;
  d.view.log = kId;
  d.view.epoch = epoch + source.below(64) / 63;  // now and then one that does not follow
  d.prev = epoch - 1;
  d.trim = source.number(), d.high = source.number();
  for (std::uint32_t i = 0, n = source.below(4); i < n; ++i)
    d.view.members.push_back({{i, 0}, {1, source.number()}, source.number(), source.text(16)});
  for (std::uint32_t i = 0, n = source.below(3); i < n; ++i)
    d.failed.push_back({source.number(), Code::kMismatch, {i, 0}, {}, false});
  d.planned = source.flag();
  return d;
}

Bytes file_of(fuzz::Source& source) {
  const std::uint8_t how = source.u8();
  Bytes bytes;
  if ((how & 3) != 0) bytes = header(source, (how & 2) != 0);
  if ((how & 20) == 0) return append(bytes, fuzz::bytes_of(source.rest())), bytes;
  Epoch epoch = 0;
  while (!source.done()) {
    const fuzz::Input payload = source.take(source.u16() % 2048);
    fuzz::Source script(payload);
    Bytes whole = record((how & 16) != 0 ? Bytes(encode(decision(script, ++epoch)))
                                         : Bytes(fuzz::bytes_of(payload).begin(), fuzz::bytes_of(payload).end()));
    if (source.done() && (how & 8) != 0) whole.resize(whole.size() / 2);
    append(bytes, whole);
  }
  return bytes;
}

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A file of this process alone, in memory where that is possible (every opening syncs).
struct File {
  File() {
    const bool shm = ::access("/dev/shm", W_OK) == 0;
    path = (shm ? std::filesystem::path("/dev/shm") : std::filesystem::temp_directory_path()) /
           ("regroup-fuzz-log-" + std::to_string(::getpid()));
  }
  ~File() { ::unlink(path.c_str()); }
  std::string path;
};

}  // namespace

FUZZ_TARGET(view_log) {
  fuzz::Source source(in);
  const Bytes bytes = file_of(source);
  static const File file;
  const std::string before(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::ofstream(file.path, std::ios::binary | std::ios::trunc) << before;

  Decision next;
  {
    auto log = ViewLog::open(file.path, kGroup);
    if (!log) {
      RG_CHECK(log.code() == Code::kRefused && content(file.path) == before);
      return;
    }
    RG_CHECK(log->id() != 0 && before.starts_with(content(file.path)));
    next = log->last().value_or(Decision{});
  }
  {
    auto again = ViewLog::open(file.path, kGroup);
    RG_CHECK(again.ok() && !again->cut_torn_record() && again->last().value_or(Decision{}) == next);
    next.view.log = again->id();
    next.prev = next.view.epoch++;
    if (next.view.epoch == 0) return;  // 2^64 views
    RG_CHECK(again->append(next).ok());
  }
  const auto last = ViewLog::open(file.path, kGroup);
  RG_CHECK(last.ok() && last->last() == next);
}
