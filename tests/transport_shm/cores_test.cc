#include "transport/shm/cores.h"

#include <sched.h>

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "transport/shm/domain.h"

using namespace regroup;

namespace {

std::vector<int> allowed_cores() {
  cpu_set_t set;
  REQUIRE(::sched_getaffinity(0, sizeof set, &set) == 0);
  std::vector<int> cores;
  for (int c = 0; c < CPU_SETSIZE; ++c)
    if (CPU_ISSET(c, &set)) cores.push_back(c);
  return cores;
}

// A member whose process is bound to these cores from its start.
std::unique_ptr<shm::Domain> bound_member(const std::vector<int>& cores) {
  std::unique_ptr<shm::Domain> domain;
  std::thread([&] {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const int c : cores) CPU_SET(c, &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0) return;
    if (auto made = shm::Domain::create(random_incarnation(), 8, 4096); made.ok()) domain = std::move(made).value();
  }).join();
  REQUIRE(domain != nullptr);
  return domain;
}

std::size_t together(const std::vector<shm::Domain*>& members) {
  std::vector<const shm::CoreLine*> lines;
  for (shm::Domain* m : members) lines.push_back(&m->words().cores);
  return shm::count_cores(lines);
}

}  // namespace

TEST_CASE("members that are bound to a core each have as many cores as there are of them; bound to one, they have one") {
  const std::vector<int> cores = allowed_cores();
  const int first = cores.front(), last = cores.back();  // the same on a machine of one core
  const auto a = bound_member({first}), b = bound_member({last}), c = bound_member({first}), free = bound_member(cores);
  CHECK(together({a.get()}) == 1);
  CHECK(together({a.get(), b.get()}) == (first == last ? 1 : 2));
  CHECK(together({a.get(), c.get()}) == 1);
  CHECK(together({a.get(), c.get(), free.get()}) == cores.size());
}

TEST_CASE("a thread that is bound later takes no core away, one that has more adds them") {
  const std::vector<int> cores = allowed_cores();
  const auto a = bound_member({cores.front()});
  shm::add_own_cores(a->words().cores);
  CHECK(together({a.get()}) == cores.size());
}
