#include "ft/driver/control.h"

#include "ft/driver/control_loop.h"

namespace regroup {

Result<std::unique_ptr<Control>> Control::start(ControlOptions options, MemberConfig config, DataSide& data) {
  if (options.group.empty() || options.group.size() > wire::kMaxGroupBytes)
    return {Code::kConfig, "a group's name has 1 to 255 bytes"};
  if (options.secret.size() > wire::kMaxSecretBytes) return {Code::kConfig, "the secret is over 4096 bytes"};
  auto where = net::parse_host_port(options.coordinator);
  if (!where) return where.error();
  auto addresses = net::resolve(*where);
  if (!addresses) return addresses.error();
  if (options.autostart.enabled && config.self.id == MemberId{}) {
    CoordinatorProcess process(options.coordinator, options.group, options.secret, options.autostart);
    if (Status s = process.start_and_wait(Duration::from_s(10)); !s) return s.error();
  }
  auto loop = std::make_unique<Loop>(std::move(options), std::move(config), data, std::move(*addresses));
  if (Status s = loop->start(); !s) return s.error();
  return std::unique_ptr<Control>(new Control(std::move(loop)));
}

Control::Control(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
Control::~Control() = default;
bool Control::post(MemberInput input) { return loop_->post(std::move(input)); }
void Control::check_peers() { loop_->check_peers(); }
void Control::restart(MemberConfig fresh) { loop_->post(std::move(fresh)); }
void Control::stop(bool abrupt) { loop_->stop(abrupt); }
std::string Control::trouble() const { return loop_->trouble(); }
Control::Counters Control::counters() const { return loop_->counters(); }
void Control::pause_for_test(bool paused) { loop_->pause(paused); }

}  // namespace regroup
