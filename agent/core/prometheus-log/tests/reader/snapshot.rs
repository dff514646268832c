//! Records of a snapshot of the head.

use narthex_model::{Exemplar, Labels};
use narthex_prometheus_log::{
    RecordError, SeriesDefinition, SeriesExemplar, SnapshotChunk, SnapshotRecord, SnapshotSeries,
    Tombstone,
};

use crate::encode::{self, put_bytes, put_f64, put_labels, put_signed, put_u64, put_unsigned};

pub(crate) fn series_record(series: u64, chunk: Option<(u8, &[u8])>) -> Vec<u8> {
    let mut record = vec![1];
    put_u64(&mut record, series);
    put_labels(&mut record, &[("a".to_owned(), "b".to_owned())]);
    put_u64(&mut record, 0);
    put_unsigned(&mut record, chunk.is_some().into());
    if let Some((encoding, data)) = chunk {
        put_u64(&mut record, -5_i64 as u64);
        put_u64(&mut record, 5);
        record.push(encoding);
        put_bytes(&mut record, data);
        for _ in 0..4 {
            put_u64(&mut record, 0);
            put_f64(&mut record, 1.0);
        }
    }
    record
}

fn expected(chunk: Option<SnapshotChunk<'_>>) -> SnapshotSeries<'_> {
    SnapshotSeries {
        definition: SeriesDefinition {
            series: 77,
            labels: vec![("a", "b")],
        },
        chunk,
    }
}

#[test]
fn series_with_and_without_a_chunk() {
    let record = series_record(77, None);
    let read = SnapshotRecord::decode(&record);
    assert!(matches!(read, Ok(SnapshotRecord::Series(series)) if series == expected(None)));
    // An encoding that is not known today is no hindrance.
    for encoding in [1, 2, 9] {
        let record = series_record(77, Some((encoding, &[0, 1, 2])));
        let chunk = SnapshotChunk {
            min_ms: -5,
            max_ms: 5,
            encoding,
            data: &[0, 1, 2],
        };
        let read = SnapshotRecord::decode(&record);
        assert!(
            matches!(read, Ok(SnapshotRecord::Series(series)) if series == expected(Some(chunk)))
        );
        for length in 1..record.len() - 64 {
            assert!(SnapshotRecord::decode(&record[..length]).is_err());
        }
    }
}

#[test]
fn tombstones_have_the_form_they_have_in_blocks() {
    let tombstones = [(300_u64, -1, 20), (1, i64::MIN, i64::MAX)];
    let mut list = vec![1];
    for (series, min, max) in tombstones {
        put_unsigned(&mut list, series);
        put_signed(&mut list, min);
        put_signed(&mut list, max);
    }
    let mut record = vec![2];
    put_bytes(&mut record, &list);
    let Ok(SnapshotRecord::Tombstones(entries)) = SnapshotRecord::decode(&record) else {
        panic!()
    };
    let expected = tombstones.map(|(series, min_ms, max_ms)| {
        Ok(Tombstone {
            series,
            min_ms,
            max_ms,
        })
    });
    assert_eq!(entries.collect::<Vec<_>>(), expected);
    assert!(
        SnapshotRecord::decode(&[2, 2, 2, 0]).is_err(),
        "another format"
    );
    assert!(matches!(
        SnapshotRecord::decode(&[2, 0]),
        Err(RecordError::Cut { .. })
    ));
}

#[test]
fn exemplars_and_unknown_records() {
    let exemplar = SeriesExemplar {
        series: 4,
        exemplar: Exemplar {
            labels: Labels::from_pairs([("trace", "x")]),
            value: 2.5,
            timestamp_ms: 99,
        },
    };
    let record = encode::exemplars(3, std::slice::from_ref(&exemplar));
    let Ok(SnapshotRecord::Exemplars(entries)) = SnapshotRecord::decode(&record) else {
        panic!()
    };
    assert_eq!(entries.collect::<Vec<_>>(), [Ok(exemplar)]);
    for (record, kind) in [(&[][..], 0), (&[4, 1], 4)] {
        let read = SnapshotRecord::decode(record);
        assert!(matches!(read, Ok(SnapshotRecord::Unknown(found)) if found == kind));
    }
}
