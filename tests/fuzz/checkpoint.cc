// Checkpoint files (runtime/state/checkpoint_file.h). First byte: 1: the rest is a script for a whole checkpoint, which then
// has some bytes changed and, with 2, is cut short; otherwise the rest is the file, whose head gets its right digest with 4.
// Held: what loads is a whole checkpoint, which is written again to the same bytes; what does not is refused, and of what
// is refused no byte was filled in.
#include "runtime/state/checkpoint_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/source.h"

using namespace regroup;
using namespace regroup::state;

namespace {

constexpr std::uint64_t kMostState = 64u << 10;
constexpr std::byte kPoison{0xee};
using Bytes = std::vector<std::byte>;

Fd memory_file() {
  Fd fd(::memfd_create("fuzz-checkpoint", MFD_CLOEXEC));
  RG_CHECK(fd);
  return fd;
}
Bytes content(int fd) {
  Bytes bytes(static_cast<std::size_t>(::lseek(fd, 0, SEEK_END)));
  RG_CHECK(::pread(fd, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return bytes;
}

// Small state; every byte follows from its stripe's number.
Bytes scripted(fuzz::Source& source) {
  CheckpointHead head;
  head.job = source.text(8);
  std::vector<Tensor> tensors;
  for (std::uint32_t i = 0, n = source.below(4); i < n; ++i) {
    Tensor t;
    t.name = source.text(4), t.bytes = source.u16() % 9000;
    if (source.flag()) t.shape = {source.number(), source.number()};
    tensors.push_back(std::move(t));
  }
  head.table = StripeTable(std::move(tensors), 4096);
  head.step = source.number();
  for (std::uint32_t i = 0, n = source.below(3); i < n; ++i) {
    const auto bytes = fuzz::bytes_of(source.take(source.u8()));
    head.blobs.push_back({source.text(4), {bytes.begin(), bytes.end()}});
  }
  const Fd fd = memory_file();
  RG_CHECK(write_checkpoint(fd.get(), head, [](std::uint32_t stripe, std::span<std::byte> into) {
             std::fill(into.begin(), into.end(), static_cast<std::byte>(stripe + 1));
             return Status{};
           }).ok());
  return content(fd.get());
}

Bytes file_of(fuzz::Source& source) {
  const std::uint8_t how = source.u8();
  Bytes bytes;
  if ((how & 1) != 0) {
    bytes = scripted(source);
    if ((how & 2) != 0) bytes.resize(bytes.size() - std::min<std::size_t>(bytes.size(), source.u16()));
    while (!source.done() && !bytes.empty()) {
      const std::size_t at = source.u16() % bytes.size();
      bytes[at] ^= static_cast<std::byte>(source.u8());
    }
    return bytes;
  }
  const auto rest = fuzz::bytes_of(source.rest());
  bytes.assign(rest.begin(), rest.end());
  if ((how & 4) == 0 || bytes.size() < 24) return bytes;
  Reader r(std::span<const std::byte>(bytes).subspan(8));
  const std::uint64_t length = std::min<std::uint64_t>(r.u64(), bytes.size() - 24);
  Writer w;
  w.u64(digest_of(std::span<const std::byte>(bytes).subspan(16, length)));
  std::copy(w.bytes().begin(), w.bytes().end(), bytes.begin() + 16 + static_cast<std::ptrdiff_t>(length));
  return bytes;
}

}  // namespace

FUZZ_TARGET(checkpoint) {
  fuzz::Source source(in);
  const Bytes bytes = file_of(source);
  const Fd fd = memory_file();
  RG_CHECK(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  const auto head = read_head(fd.get(), "f");
  if (!head) {
    RG_CHECK(head.code() == Code::kConfig);
    return;
  }
  if (head->table.bytes() > kMostState) return;
  std::vector<Bytes> memory;
  std::vector<StateBuffer> state;
  for (const Tensor& t : head->table.tensors()) memory.emplace_back(t.bytes, kPoison);
  for (Bytes& m : memory) state.push_back({"", m.data(), m.size()});
  if (Status s = load_checkpoint(fd.get(), "f", *head, state); !s) {
    RG_CHECK(s.code() == Code::kConfig);
    for (const Bytes& m : memory) RG_CHECK(m == Bytes(m.size(), kPoison));
    return;
  }
  const Fd again = memory_file();
  RG_CHECK(write_checkpoint(again.get(), *head, [&](std::uint32_t stripe, std::span<std::byte> into) {
             const Stripe s = head->table[stripe];
             std::copy_n(memory[s.tensor].begin() + static_cast<std::ptrdiff_t>(s.offset), into.size(), into.begin());
             return Status{};
           }).ok());
  RG_CHECK(content(again.get()) == bytes);
}
