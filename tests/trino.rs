//! Trino and Presto, for real: servers of both, writing into PostgreSQL and MariaDB, which the agent
//! reads itself.

mod driver;
mod losses;
mod malice;
mod mariadb;
mod past;
mod watch;

use crate::fixtures::trino::Flavor;

/// The same tests for both families, as `on_trino::…` and `on_presto::…`.
macro_rules! for_both {
    ($on_trino:ident, $on_presto:ident, $($module:ident :: $name:ident;)*) => {
        mod $on_trino {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$module::$name(super::Flavor::Trino).await;
                }
            )*
        }
        mod $on_presto {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$module::$name(super::Flavor::Presto).await;
                }
            )*
        }
    };
}

for_both! {
    on_trino, on_presto,
    driver::every_hard_value_arrives_in_every_mode;
    driver::a_seed_table_that_is_gone_or_half_filled_is_filled_again;
    driver::a_run_is_found_again_by_any_process_and_its_end_too;
    driver::a_lost_answer_is_found_again_and_never_sent_twice;
    driver::what_was_never_sent_is_not_known_rather_than_not_there;
    driver::a_job_is_stopped_by_us_and_by_others;
    driver::what_cannot_be_written_is_an_error_of_the_export;
    driver::a_password_goes_over_tls_and_a_wrong_one_is_denied;
    losses::each_fault_behind_a_claim_of_success_has_its_outcome;
    losses::a_killed_query_whose_rows_land_all_the_same_is_unclaimed;
    losses::only_the_target_that_loses_rows_is_named;
    losses::a_rotated_password_is_the_targets_and_not_the_platforms;
    losses::a_stopped_or_locked_target_cannot_be_seen_and_the_platform_is_spared;
    past::a_list_that_shifts_while_it_is_read_tells_each_query_once;
    past::a_statement_says_where_its_rows_go_whatever_it_is_written_like;
    past::exactly_the_customers_whose_rows_the_target_lost_are_named;
    past::what_customers_write_and_no_route_covers_comes_with_what_closes_it;
}

for_both! {
    on_trino_into_mariadb, on_presto_into_mariadb,
    mariadb::every_hard_value_arrives_in_every_mode;
    mariadb::each_fault_behind_a_claim_of_success_has_its_outcome;
    mariadb::only_the_target_that_loses_rows_is_named;
    mariadb::a_rotated_password_is_the_targets_and_not_the_platforms;
    mariadb::a_stopped_or_locked_target_cannot_be_seen_and_the_platform_is_spared;
}
