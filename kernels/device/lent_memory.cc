#include "kernels/device/lent_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <utility>

namespace regroup::device {
namespace {

constexpr std::uint32_t kMaker = 1;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;  // who maps it must not die of a page that went
constexpr std::size_t kPage = 4096;

struct Ticket {
  std::int32_t process = 0, file = -1;
};
static_assert(sizeof(Ticket) <= sizeof(Loan::ticket));

}  // namespace

LentMemory LentMemory::make(std::size_t bytes) {
  LentMemory memory;
  const std::size_t size = (std::max<std::size_t>(bytes, 1) + kPage - 1) / kPage * kPage;
  memory.file_ = Fd(::memfd_create("regroup-device", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (memory.file_.get() < 0 || ::ftruncate(memory.file_.get(), static_cast<off_t>(size)) != 0 ||
      ::fcntl(memory.file_.get(), F_ADD_SEALS, kSeals) != 0)
    return {};
  void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory.file_.get(), 0);
  if (at == MAP_FAILED) return {};
  memory.data_ = static_cast<std::byte*>(at);
  memory.size_ = size;
  memory.bytes_ = bytes;
  return memory;
}

Result<LentMemory> LentMemory::open(const Loan& loan) {
  if (loan.maker != kMaker) return {Code::kUnsupported, "memory of another kind of device"};
  Ticket ticket;
  std::memcpy(&ticket, loan.ticket.data(), sizeof ticket);
  const std::string path = "/proc/" + std::to_string(ticket.process) + "/fd/" + std::to_string(ticket.file);
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat found {};
  // The number of the file may have been given to another one since.
  if (file.get() < 0 || ::fstat(file.get(), &found) != 0 || found.st_ino != loan.id ||
      static_cast<std::uint64_t>(found.st_size) < loan.bytes || (::fcntl(file.get(), F_GET_SEALS) & F_SEAL_SHRINK) == 0)
    return {Code::kUnavailable, "device memory of process " + std::to_string(ticket.process) + " is gone, or not to be had by this user"};
  const auto size = static_cast<std::size_t>(found.st_size);
  void* at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (at == MAP_FAILED) return {Code::kNoMemory, "no room to map device memory of another process"};
  LentMemory memory;
  memory.data_ = static_cast<std::byte*>(at);
  memory.size_ = size;
  memory.bytes_ = loan.bytes;
  return memory;
}

LentMemory::LentMemory(LentMemory&& other) noexcept
    : file_(std::move(other.file_)), data_(std::exchange(other.data_, nullptr)), size_(other.size_), bytes_(other.bytes_) {}

LentMemory& LentMemory::operator=(LentMemory&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

LentMemory::~LentMemory() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Loan LentMemory::loan(std::size_t offset) const {
  Loan loan;
  struct stat found {};
  if (file_.get() < 0 || ::fstat(file_.get(), &found) != 0) return loan;
  const Ticket ticket{::getpid(), file_.get()};
  loan.maker = kMaker;
  loan.id = found.st_ino;
  loan.bytes = bytes_;
  loan.offset = offset;
  std::memcpy(loan.ticket.data(), &ticket, sizeof ticket);
  return loan;
}

}  // namespace regroup::device
