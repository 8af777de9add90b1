#include "tools/chaos/page.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace regroup::chaos {

Page* map_page(int fd, bool create) {
  if (create && ::ftruncate(fd, sizeof(Page)) != 0) return nullptr;
  void* memory = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (create) return new (memory) Page;
  auto* page = static_cast<Page*>(memory);
  return page->settings.layout == Settings::kLayout ? page : nullptr;
}

}  // namespace regroup::chaos
