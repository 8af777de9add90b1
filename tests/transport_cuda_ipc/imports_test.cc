// Device memory that peers lent: opened once, few at a time, closed when nothing reads it any more.
#include "transport/cuda_ipc/imports.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <set>
#include <thread>

#include "base/clock.h"
#include "kernels/device/host_device.h"

using namespace regroup;
using device::Loan;
using device::Memory;

namespace {

// Counts what is open; the rest is the host device's.
struct Counting {
  std::shared_ptr<device::Device> device = device::make_host_device();
  std::set<const std::byte*> opened;  // an address may come again
  [[nodiscard]] std::size_t open() const {
    std::size_t n = 0;
    for (const std::byte* at : opened) n += device->kind_of(at).ok();
    return n;
  }
};

bool eventually(const std::function<bool()>& holds) {
  for (const Instant until = now() + Duration::from_s(20); now() < until; std::this_thread::yield())
    if (holds()) return true;
  return false;
}

const Incarnation kFirst{1, 1}, kSecond{2, 2};

}  // namespace

TEST_CASE("memory of a peer is opened once; of more than are kept the one unused for longest is closed, when nothing reads it") {
  const auto lender = device::make_host_device();
  std::vector<Loan> loans;
  for (std::uint32_t i = 0; i < 4; ++i) {
    auto* memory = static_cast<std::uint32_t*>(*lender->allocate(Memory::kDevice, 8192));
    memory[1024] = i;
    loans.push_back(*lender->lend(memory + 1024));
  }
  Counting here;
  std::atomic<bool> past{false};
  {
    cuda_ipc::Imports imports(here.device, 2, [&past] { return [&past] { return past.load(); }; });
    const auto get = [&](std::size_t i, const Incarnation& owner = kFirst) {
      const Result<const std::byte*> at = imports.at(owner, loans[i], 4096);
      REQUIRE(at.ok());
      CHECK(*reinterpret_cast<const std::uint32_t*>(*at) == i);
      return *at;
    };
    const std::byte *first = get(0), *second = get(1);
    here.opened = {first, second};
    CHECK(get(0) == first);
    CHECK(imports.at(kFirst, loans[0], 4097).code() == Code::kRefused);
    here.opened.insert(get(2));  // 1 goes
    CHECK(get(0) == first);
    CHECK(here.open() == 3);  // somebody may still read it
    past.store(true);
    CHECK(eventually([&] { return here.open() == 2; }));
    CHECK_FALSE(here.device->kind_of(second).ok());

    here.opened.insert(get(3, kSecond));  // another owner's do not push these out
    CHECK(imports.size() == 3);
    imports.keep({&kSecond, 1});
    CHECK(imports.size() == 1);
    CHECK(eventually([&] { return here.open() == 1; }));
    past.store(false);
    imports.keep({});
    CHECK(here.open() == 1);
  }
  CHECK(here.open() == 0);  // its user is gone
}
