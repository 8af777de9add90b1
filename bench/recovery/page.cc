#include "bench/recovery/page.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace regroup::bench {

Page* map_page(int fd, bool create) {
  if (create && ::ftruncate(fd, sizeof(Page)) != 0) return nullptr;
  void* memory = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (memory == MAP_FAILED) return nullptr;
  return create ? new (memory) Page() : static_cast<Page*>(memory);
}

}  // namespace regroup::bench
