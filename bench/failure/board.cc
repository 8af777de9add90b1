#include "bench/failure/board.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <new>

namespace regroup::bench {
namespace {

void* map(int fd) { return ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); }

}  // namespace

BoardOwner::BoardOwner() : fd_(::memfd_create("regroup-bench-board", 0)) {  // inherited: no MFD_CLOEXEC
  if (fd_ < 0 || ::ftruncate(fd_, sizeof(Board)) != 0) return;
  void* memory = map(fd_);
  if (memory != MAP_FAILED) board_ = new (memory) Board();
}

BoardOwner::~BoardOwner() {
  if (board_ != nullptr) ::munmap(board_, sizeof(Board));
  if (fd_ >= 0) ::close(fd_);
}

Board* inherited_board() {
  const char* fd = std::getenv(kBoardVariable);
  if (fd == nullptr) return nullptr;
  void* memory = map(std::atoi(fd));
  return memory == MAP_FAILED ? nullptr : static_cast<Board*>(memory);
}

}  // namespace regroup::bench
