// SPDX-License-Identifier: Apache-2.0
// Which addresses the internet does not route to. Pure.
#pragma once

#include "common/ip.h"

namespace omni {

// RFC 1918, RFC 6598 (carriers' NATs), RFC 4193.
bool IsPrivate(const IpAddress& address);
// Whether it means something on its own link alone: RFC 3927, RFC 4291 section 2.5.6.
bool IsLinkLocal(const IpAddress& address);

}  // namespace omni
