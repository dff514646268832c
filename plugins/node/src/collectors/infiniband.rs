//! Adapters for InfiniBand and for RDMA over Ethernet.

use narthex_plugin_sdk::{ConfigError, Metrics, files};

use super::Collector;
use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::{At, Failure};
use crate::filter::Filter;
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{attributes, attributes_of, folders_where, number, numbered, parse, whole};

const INFO: Descriptor = gauge(
    "node_infiniband_info",
    "Non-numeric data from /sys/class/infiniband/<device>, value is always 1.",
);
const STATE: Descriptor = gauge(
    "node_infiniband_state_id",
    "State of the InfiniBand port (0: no change, 1: down, 2: init, 3: armed, 4: active, 5: act defer)",
);
const PHYSICAL_STATE: Descriptor = gauge(
    "node_infiniband_physical_state_id",
    "Physical state of the InfiniBand port (0: no change, 1: sleep, 2: polling, 3: disable, 4: shift, 5: link up, 6: link error recover, 7: phytest)",
);
const RATE: Descriptor = gauge(
    "node_infiniband_rate_bytes_per_second",
    "Maximum signal transfer rate",
);
const LIFESPAN: Descriptor = gauge(
    "node_infiniband_lifespan_seconds",
    "The maximum period in ms which defines the aging of the counter reads. Two consecutive reads within this period might return the same values.",
);

const LABELS: [&str; 2] = ["device", "port"];

/// Files of a port. Which of them there are depends on the driver.
const COUNTERS: [(&str, Descriptor); 59] = [
    (
        "counters/excessive_buffer_overrun_errors",
        counter(
            "node_infiniband_excessive_buffer_overrun_errors_total",
            "Number of times that OverrunErrors consecutive flow control update periods occurred, each having at least one overrun error.",
        ),
    ),
    (
        "counters/link_downed",
        counter(
            "node_infiniband_link_downed_total",
            "Number of times the link failed to recover from an error state and went down",
        ),
    ),
    (
        "counters/link_error_recovery",
        counter(
            "node_infiniband_link_error_recovery_total",
            "Number of times the link successfully recovered from an error state",
        ),
    ),
    (
        "counters/local_link_integrity_errors",
        counter(
            "node_infiniband_local_link_integrity_errors_total",
            "Number of times that the count of local physical errors exceeded the threshold specified by LocalPhyErrors.",
        ),
    ),
    (
        "counters/multicast_rcv_packets",
        counter(
            "node_infiniband_multicast_packets_received_total",
            "Number of multicast packets received (including errors)",
        ),
    ),
    (
        "counters/multicast_xmit_packets",
        counter(
            "node_infiniband_multicast_packets_transmitted_total",
            "Number of multicast packets transmitted (including errors)",
        ),
    ),
    (
        "counters/port_rcv_constraint_errors",
        counter(
            "node_infiniband_port_constraint_errors_received_total",
            "Number of packets received on the switch physical port that are discarded",
        ),
    ),
    (
        "counters/port_xmit_constraint_errors",
        counter(
            "node_infiniband_port_constraint_errors_transmitted_total",
            "Number of packets not transmitted from the switch physical port",
        ),
    ),
    (
        "counters/port_rcv_data",
        counter(
            "node_infiniband_port_data_received_bytes_total",
            "Number of data octets received on all links",
        ),
    ),
    (
        "counters/port_xmit_data",
        counter(
            "node_infiniband_port_data_transmitted_bytes_total",
            "Number of data octets transmitted on all links",
        ),
    ),
    (
        "counters/port_rcv_discards",
        counter(
            "node_infiniband_port_discards_received_total",
            "Number of inbound packets discarded by the port because the port is down or congested",
        ),
    ),
    (
        "counters/port_xmit_discards",
        counter(
            "node_infiniband_port_discards_transmitted_total",
            "Number of outbound packets discarded by the port because the port is down or congested",
        ),
    ),
    (
        "counters/port_rcv_errors",
        counter(
            "node_infiniband_port_errors_received_total",
            "Number of packets containing an error that were received on this port",
        ),
    ),
    (
        "counters/port_rcv_packets",
        counter(
            "node_infiniband_port_packets_received_total",
            "Number of packets received on all VLs by this port (including errors)",
        ),
    ),
    (
        "counters/port_xmit_packets",
        counter(
            "node_infiniband_port_packets_transmitted_total",
            "Number of packets transmitted on all VLs from this port (including errors)",
        ),
    ),
    (
        "counters/port_xmit_wait",
        counter(
            "node_infiniband_port_transmit_wait_total",
            "Number of ticks during which the port had data to transmit but no data was sent during the entire tick",
        ),
    ),
    (
        "counters/unicast_rcv_packets",
        counter(
            "node_infiniband_unicast_packets_received_total",
            "Number of unicast packets received (including errors)",
        ),
    ),
    (
        "counters/unicast_xmit_packets",
        counter(
            "node_infiniband_unicast_packets_transmitted_total",
            "Number of unicast packets transmitted (including errors)",
        ),
    ),
    (
        "counters/port_rcv_remote_physical_errors",
        counter(
            "node_infiniband_port_receive_remote_physical_errors_total",
            "Number of packets marked with the EBP (End of Bad Packet) delimiter received on the port.",
        ),
    ),
    (
        "counters/port_rcv_switch_relay_errors",
        counter(
            "node_infiniband_port_receive_switch_relay_errors_total",
            "Number of packets that could not be forwarded by the switch.",
        ),
    ),
    (
        "counters/symbol_error",
        counter(
            "node_infiniband_symbol_error_total",
            "Number of minor link errors detected on one or more physical lanes.",
        ),
    ),
    (
        "counters/VL15_dropped",
        counter(
            "node_infiniband_vl15_dropped_total",
            "Number of incoming VL15 packets dropped due to resource limitations.",
        ),
    ),
    (
        "counters_ext/port_multicast_rcv_packets",
        counter(
            "node_infiniband_legacy_multicast_packets_received_total",
            "Number of multicast packets received",
        ),
    ),
    (
        "counters_ext/port_multicast_xmit_packets",
        counter(
            "node_infiniband_legacy_multicast_packets_transmitted_total",
            "Number of multicast packets transmitted",
        ),
    ),
    (
        "counters_ext/port_rcv_data_64",
        counter(
            "node_infiniband_legacy_data_received_bytes_total",
            "Number of data octets received on all links",
        ),
    ),
    (
        "counters_ext/port_rcv_packets_64",
        counter(
            "node_infiniband_legacy_packets_received_total",
            "Number of data packets received on all links",
        ),
    ),
    (
        "counters_ext/port_unicast_rcv_packets",
        counter(
            "node_infiniband_legacy_unicast_packets_received_total",
            "Number of unicast packets received",
        ),
    ),
    (
        "counters_ext/port_unicast_xmit_packets",
        counter(
            "node_infiniband_legacy_unicast_packets_transmitted_total",
            "Number of unicast packets transmitted",
        ),
    ),
    (
        "counters_ext/port_xmit_data_64",
        counter(
            "node_infiniband_legacy_data_transmitted_bytes_total",
            "Number of data octets transmitted on all links",
        ),
    ),
    (
        "counters_ext/port_xmit_packets_64",
        counter(
            "node_infiniband_legacy_packets_transmitted_total",
            "Number of data packets received on all links",
        ),
    ),
    (
        "hw_counters/duplicate_request",
        counter(
            "node_infiniband_duplicate_requests_packets_total",
            "The number of received packets. A duplicate request is a request that had been previously executed.",
        ),
    ),
    (
        "hw_counters/implied_nak_seq_err",
        counter(
            "node_infiniband_implied_nak_seq_errors_total",
            "The number of time the requested decided an ACK. with a PSN larger than the expected PSN for an RDMA read or response.",
        ),
    ),
    (
        "hw_counters/local_ack_timeout_err",
        counter(
            "node_infiniband_local_ack_timeout_errors_total",
            "The number of times QP's ack timer expired for RC, XRC, DCT QPs at the sender side. The QP retry limit was not exceed, therefore it is still recoverable error.",
        ),
    ),
    (
        "hw_counters/np_cnp_sent",
        counter(
            "node_infiniband_np_cnp_packets_sent_total",
            "The number of CNP packets sent by the Notification Point when it noticed congestion experienced in the RoCEv2 IP header (ECN bits). The counters was added in MLNX_OFED 4.1",
        ),
    ),
    (
        "hw_counters/np_ecn_marked_roce_packets",
        counter(
            "node_infiniband_np_ecn_marked_roce_packets_received_total",
            "The number of RoCEv2 packets received by the notification point which were marked for experiencing the congestion (ECN bits where '11' on the ingress RoCE traffic) . The counters was added in MLNX_OFED 4.1",
        ),
    ),
    (
        "hw_counters/out_of_buffer",
        counter(
            "node_infiniband_out_of_buffer_drops_total",
            "The number of drops occurred due to lack of WQE for the associated QPs.",
        ),
    ),
    (
        "hw_counters/out_of_sequence",
        counter(
            "node_infiniband_out_of_sequence_packets_received_total",
            "The number of out of sequence packets received.",
        ),
    ),
    (
        "hw_counters/packet_seq_err",
        counter(
            "node_infiniband_packet_sequence_errors_total",
            "The number of received NAK sequence error packets. The QP retry limit was not exceeded.",
        ),
    ),
    (
        "hw_counters/req_cqe_error",
        counter(
            "node_infiniband_req_cqes_errors_total",
            "The number of times requester detected CQEs completed with errors. The counters was added in MLNX_OFED 4.1",
        ),
    ),
    (
        "hw_counters/req_cqe_flush_error",
        counter(
            "node_infiniband_req_cqes_flush_errors_total",
            "The number of times requester detected CQEs completed with flushed errors. The counters was added in MLNX_OFED 4.1",
        ),
    ),
    (
        "hw_counters/req_remote_access_errors",
        counter(
            "node_infiniband_req_remote_access_errors_total",
            "The number of times requester detected remote access errors. The counters was added in MLNX_OFED 4.1",
        ),
    ),
    (
        "hw_counters/req_remote_invalid_request",
        counter(
            "node_infiniband_req_remote_invalid_request_errors_total",
            "The number of times requester detected remote invalid request errors. The counters was added in MLNX_OFED 4.1",
        ),
    ),
    (
        "hw_counters/resp_cqe_error",
        counter(
            "node_infiniband_resp_cqes_errors_total",
            "The number of times responder detected CQEs completed with errors. The counters was added in MLNX_OFED 4.1",
        ),
    ),
    (
        "hw_counters/resp_cqe_flush_error",
        counter(
            "node_infiniband_resp_cqes_flush_errors_total",
            "The number of times responder detected CQEs completed with flushed errors. The counters was added in MLNX_OFED 4.1",
        ),
    ),
    (
        "hw_counters/resp_local_length_error",
        counter(
            "node_infiniband_resp_local_length_errors_total",
            "The number of times responder detected local length errors. The counters was added in MLNX_OFED 4.1",
        ),
    ),
    (
        "hw_counters/resp_remote_access_errors",
        counter(
            "node_infiniband_resp_remote_access_errors_total",
            "The number of times responder detected remote access errors. The counters was added in MLNX_OFED 4.1",
        ),
    ),
    (
        "hw_counters/rnr_nak_retry_err",
        counter(
            "node_infiniband_rnr_nak_retry_packets_received_total",
            "The number of received RNR NAK packets. The QP retry limit was not exceeded.",
        ),
    ),
    (
        "hw_counters/roce_adp_retrans",
        counter(
            "node_infiniband_roce_adp_retransmits_total",
            "The number of adaptive retransmissions for RoCE traffic. The counter was added in MLNX_OFED rev 5.0-1.0.0.0 and kernel v5.6.0",
        ),
    ),
    (
        "hw_counters/roce_adp_retrans_to",
        counter(
            "node_infiniband_roce_adp_retransmits_timeout_total",
            "The number of times RoCE traffic reached timeout due to adaptive retransmission. The counter was added in MLNX_OFED rev 5.0-1.0.0.0 and kernel v5.6.0",
        ),
    ),
    (
        "hw_counters/roce_slow_restart",
        counter(
            "node_infiniband_roce_slow_restart_used_total",
            "The number of times RoCE slow restart was used. The counter was added in MLNX_OFED rev 5.0-1.0.0.0 and kernel v5.6.0",
        ),
    ),
    (
        "hw_counters/roce_slow_restart_cnps",
        counter(
            "node_infiniband_roce_slow_restart_cnps_total",
            "The number of times RoCE slow restart generated CNP packets. The counter was added in MLNX_OFED rev 5.0-1.0.0.0 and kernel v5.6.0",
        ),
    ),
    (
        "hw_counters/roce_slow_restart_trans",
        counter(
            "node_infiniband_roce_slow_restart_total",
            "The number of times RoCE slow restart changed state to slow restart. The counter was added in MLNX_OFED rev 5.0-1.0.0.0 and kernel v5.6.0",
        ),
    ),
    (
        "hw_counters/rp_cnp_handled",
        counter(
            "node_infiniband_rp_cnp_packets_handled_total",
            "The number of CNP packets handled by the Reaction Point HCA to throttle the transmission rate. The counters was added in MLNX_OFED 4.1",
        ),
    ),
    (
        "hw_counters/rp_cnp_ignored",
        counter(
            "node_infiniband_rp_cnp_ignored_packets_received_total",
            "The number of CNP packets received and ignored by the Reaction Point HCA. This counter should not raise if RoCE Congestion Control was enabled in the network. If this counter raise, verify that ECN was enabled on the adapter.",
        ),
    ),
    (
        "hw_counters/rx_atomic_requests",
        counter(
            "node_infiniband_rx_atomic_requests_total",
            "The number of received ATOMIC request for the associated QPs.",
        ),
    ),
    (
        "hw_counters/rx_dct_connect",
        counter(
            "node_infiniband_rx_dct_connect_requests_total",
            "The number of received connection requests for the associated DCTs.",
        ),
    ),
    (
        "hw_counters/rx_read_requests",
        counter(
            "node_infiniband_rx_read_requests_total",
            "The number of received READ requests for the associated QPs.",
        ),
    ),
    (
        "hw_counters/rx_write_requests",
        counter(
            "node_infiniband_rx_write_requests_total",
            "The number of received WRITE requests for the associated QPs.",
        ),
    ),
    (
        "hw_counters/rx_icrc_encapsulated",
        counter(
            "node_infiniband_rx_icrc_encapsulated_errors_total",
            "The number of RoCE packets with ICRC errors. This counter was added in MLNX_OFED 4.4 and kernel 4.19",
        ),
    ),
];

/// These count words of four bytes.
const WORDS: [&str; 4] = [
    "counters/port_rcv_data",
    "counters/port_xmit_data",
    "counters_ext/port_rcv_data_64",
    "counters_ext/port_xmit_data_64",
];

const BYTES_PER_GIGABIT: f64 = 125_000_000.0;

pub(crate) struct InfiniBand {
    devices: Filter,
}

impl InfiniBand {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        Ok(InfiniBand {
            devices: Filter::new(options, "collector.infiniband.device", None)?,
        })
    }
}

impl Collector for InfiniBand {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let class = machine.sys("class/infiniband");
        let devices = folders_where(&class, |name| self.devices.takes(name));
        for device in devices.at_if_there(&class)? {
            let folder = format!("{class}/{device}");
            describe(&folder, &device, metrics)?;
            let ports = format!("{folder}/ports");
            for entry in files::entries(&ports).at(&ports)? {
                if let Some(port) = numbered(&entry.name, "") {
                    give(&format!("{ports}/{port}"), &device, port, metrics)?;
                }
            }
        }
        Ok(())
    }
}

fn describe(folder: &str, device: &str, metrics: &mut Metrics) -> Result<(), Failure> {
    let [firmware, board, kind] = attributes_of(folder, ["fw_ver", "board_id", "hca_type"]);
    let firmware = firmware.ok_or("no fw_ver".to_owned()).at(folder)?;
    let labels = [
        ("board_id", board.as_deref().unwrap_or_default()),
        ("device", device),
        ("firmware_version", &firmware),
        ("hca_type", kind.as_deref().unwrap_or_default()),
    ];
    let values = labels.map(|(_, value)| value);
    INFO.add(metrics, labels.map(|(name, _)| name), values, 1.0);
    Ok(())
}

fn give(folder: &str, device: &str, port: &str, metrics: &mut Metrics) -> Result<(), Failure> {
    let texts = attributes_of(folder, ["state", "phys_state", "rate"]);
    let [state, physical, rate] = texts.map(Option::unwrap_or_default);
    for (family, text) in [(STATE, state), (PHYSICAL_STATE, physical)] {
        family.add(
            metrics,
            LABELS,
            [device, port],
            before_colon(&text).at(folder)?,
        );
    }
    let rate = gigabits(&rate).at(folder)? * BYTES_PER_GIGABIT;
    RATE.add(metrics, LABELS, [device, port], rate.trunc());
    let mut paths: Vec<String> = COUNTERS
        .iter()
        .map(|(file, _)| format!("{folder}/{file}"))
        .collect();
    paths.push(format!("{folder}/hw_counters/lifespan"));
    let values = attributes(&paths);
    for ((file, family), value) in COUNTERS.iter().zip(&values) {
        // Some say that they have nothing to say.
        if let Some(value) = whole(value) {
            let factor = if WORDS.contains(file) { 4.0 } else { 1.0 };
            family.add(metrics, LABELS, [device, port], value * factor);
        }
    }
    if let Some(ms) = values.last().and_then(whole) {
        LIFESPAN.add(metrics, LABELS, [device, port], (ms / 1000.0).trunc());
    }
    Ok(())
}

/// The number of `4: ACTIVE`.
fn before_colon(text: &str) -> Result<f64, String> {
    let (id, _) = text
        .split_once(':')
        .ok_or_else(|| format!("expected a number and a name, not {text:?}"))?;
    number(id.trim())
}

/// The number of `2.5 Gb/sec (1X SDR)`.
fn gigabits(text: &str) -> Result<f64, String> {
    let wrong = || format!("expected a rate, not {text:?}");
    let (value, _) = text.split_once(' ').ok_or_else(wrong)?;
    Ok(f64::from(parse::<f32>(value).ok_or_else(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_states_and_rates() {
        assert_eq!(before_colon("4: ACTIVE"), Ok(4.0));
        assert!(before_colon("ACTIVE").is_err());
        assert_eq!(gigabits("2.5 Gb/sec (1X SDR)"), Ok(2.5));
        assert!(gigabits("fast").is_err());
        assert!(gigabits("x Gb/sec").is_err());
    }
}
