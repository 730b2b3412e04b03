//! The analyses of the walk: one all along the way, and those that are steps. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::{
    api::{AnalysisRun, RolloutState, RolloutStatus},
    plan::{
        inquiry::Inquiry,
        rollout::analysis::{Consequence, Course},
    },
    validate::{Analysis, Step},
};

use super::{Situation, time};

impl Situation<'_> {
    /// The policy was given its analysis on the way.
    pub(super) fn begin_analysis(&self, status: &mut RolloutStatus) {
        let begins = status.state.is_under_way() && status.analysis.is_none() && status.weights_since.is_some();
        if begins && self.policy.analysis.is_some() {
            status.analysis = Some(AnalysisRun::new(time(self.now)));
        }
    }

    /// Notes what was measured; too many failures end the rollout, too many errors pause it. Answers why it ends, unless that
    /// was known.
    pub(super) fn measure(&self, status: &mut RolloutStatus) -> Option<String> {
        let known = status.verdict.take().filter(|_| self.is_measured(status));
        if !status.state.is_under_way() {
            return None;
        }
        // The step that it is at became an analysis.
        if status.step_since.is_some() && status.waits_for.is_none() {
            self.run_analysis(status);
        }
        let noted = |course: Option<(Course<'_>, &AnalysisRun)>| {
            let (course, run) = course?;
            let mut run = run.clone();
            let consequence = course.note(&mut run, self.replies);
            Some((run, consequence))
        };
        let measured = |course| noted(course).filter(|_| self.is_measured(status));
        let [background, of_step] = [measured(self.background(status)), measured(self.of_step(status))];
        let mut consequences = Vec::new();
        if let Some((run, consequence)) = background {
            status.analysis = Some(run);
            consequences.extend(consequence);
        }
        if let Some((run, consequence)) = of_step {
            status.step_analysis = Some(run);
            consequences.extend(consequence);
        }
        for consequence in consequences {
            match consequence {
                Consequence::Failed(why) => self.fail(status, why),
                Consequence::Blind(why) if status.state == RolloutState::Progressing => self.pause(status, why),
                Consequence::Blind(_) => {}
            }
        }
        let Some(why) = known else { return status.message.clone().filter(|_| !status.state.is_under_way()) };
        if status.state.is_under_way() {
            self.fail(status, why);
        }
        None
    }

    /// What is to be asked now.
    pub(super) fn inquiries(&self, status: &RolloutStatus) -> Vec<Inquiry> {
        self.courses(status).flat_map(|(course, run)| course.inquiries(run, self.now)).collect()
    }

    /// When the next measurement is due by time alone.
    pub(super) fn next_measurement(&self, status: &RolloutStatus) -> Option<Timestamp> {
        self.courses(status).filter_map(|(course, run)| course.next(run, self.now)).min()
    }

    /// What a step that is an analysis still waits for.
    pub(super) fn uncounted(&self, status: &RolloutStatus) -> Option<String> {
        let (course, run) = self.of_step(status)?;
        course.not_counted(run)
    }

    fn courses<'a>(&'a self, status: &'a RolloutStatus) -> impl Iterator<Item = (Course<'a>, &'a AnalysisRun)> {
        let both = self.background(status).into_iter().chain(self.of_step(status));
        both.filter(|_| self.is_measured(status))
    }

    /// The analysis all along the way, from the first weight on.
    pub(super) fn background<'a>(&'a self, status: &'a RolloutStatus) -> Option<(Course<'a>, &'a AnalysisRun)> {
        let run = status.analysis.as_ref()?;
        Some((self.course(status, self.policy.analysis.as_ref()?, "all", status.weights_since.as_ref()?), run))
    }

    /// The analysis that is the current step.
    fn of_step<'a>(&'a self, status: &'a RolloutStatus) -> Option<(Course<'a>, &'a AnalysisRun)> {
        let Some(Step::Analysis(policy)) = self.step(status) else { return None };
        let run = status.step_analysis.as_ref()?;
        Some((self.course(status, policy, "step", &run.since), run))
    }

    /// To the end: the last raise, too, may wait for pods, a window or a person.
    fn is_measured(&self, status: &RolloutStatus) -> bool {
        status.state.is_under_way() && !status.promoted_fully
    }

    fn course<'a>(
        &'a self,
        status: &'a RolloutStatus,
        policy: &'a Analysis,
        scope: &'a str,
        since: &'a MicroTime,
    ) -> Course<'a> {
        let versions: Vec<&str> = self.raised(status).map(|party| party.name).collect();
        // One that gets no requests any more, as it failed or all went to the next, has nothing to be compared with.
        let serves = |name: &str| self.current().get(name).is_some_and(|weight| *weight > 0);
        let others = status.stable.iter().filter(|(name, _)| !versions.contains(&name.as_str()) && serves(name));
        let baseline = others.max_by_key(|(_, weight)| **weight).map(|(name, _)| name.as_str());
        Course { service: self.service, policy, scope, target: &status.target, baseline, versions, since }
    }
}
